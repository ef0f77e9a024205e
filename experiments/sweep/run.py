"""One run of a sweep, from its plan to its last stage; the only one that writes its directory."""

import contextlib
import dataclasses
import pathlib
import sys
from typing import Any

from lth_tf.config import ExperimentConfig, RunOptions
from lth_tf.runs import parcel
from lth_tf.runs.parcel import Parcel
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN, Stage

from .. import cli
from .work import Plan, Work


@dataclasses.dataclass(frozen=True)
class Wanted:
    """A run that a command line asks for.

    Attributes:
        experiment: what it is one of.
        config: with its seed.
        options: how it is trained.
        label: what it is called in the table.
        group: those of a lower one are trained first.
    """

    experiment: cli.Experiment
    config: ExperimentConfig
    options: RunOptions
    label: str
    group: int = 0

    @property
    def path(self) -> pathlib.Path:
        """Its directory."""
        return self.experiment.path(self.config, self.options)


class Run:
    """A run while it is swept.

    Args:
        wanted: what is trained.
        cores: what a training takes.

    Attributes:
        wanted: the same.
        stages: all of them in the order of a run on one machine, once there is a plan.
        done: those on the disk.
        failed: stage -> why it is given up; None stands for the plan.
        data: what stands for its data.
    """

    def __init__(self, wanted: Wanted, cores: int):
        self.wanted = wanted
        self.stages: list[Stage] = []
        self.done: set[Stage] = set()
        self.failed: dict[Stage | None, str] = {}
        self.data: Any = None
        self._run_dir = RunDir(wanted.path)
        self._needs: dict[Stage, list[Stage]] = {}
        self._stack = contextlib.ExitStack()
        self._work = Work(
            wanted.config.to_json(), wanted.options, str(wanted.path.absolute()), cores
        )

    @property
    def run_dir(self) -> RunDir:
        """Its directory."""
        return self._run_dir

    @property
    def work(self) -> Work:
        """What a machine is told of it."""
        return self._work

    @property
    def is_planned(self) -> bool:
        """Whether it is known what it consists of."""
        return bool(self.stages)

    @property
    def is_complete(self) -> bool:
        """Whether all of it is on the disk."""
        return self.is_planned and len(self.done) == len(self.stages)

    def begin(self, plan: Plan, data: Any) -> None:
        """Makes the directory ready, for this process alone, until `close`.

        Raises:
            UsageError: see `RunDir.writing`.
        """
        config = self.wanted.config.replace(levels=plan.levels)
        if self.wanted.options.overwrite:
            self._run_dir.delete()
        about = {**plan.about, "argv": sys.argv, "sweep": {"cpus": self._work.cores}}
        self._stack.enter_context(self._run_dir.writing(config, about))
        self._work = dataclasses.replace(
            self._work, config=config.to_json(), data=self._run_dir.provenance()["data"]
        )
        self._needs, self.data, self.stages = plan.needs, data, list(plan.needs)
        self.done = {stage for stage in self.stages if self._is_done(stage)}

    def ready(self) -> list[Stage]:
        """Returns the stages that could be trained now, in their order."""
        return [
            stage
            for stage in self.stages
            if stage not in self.done
            and stage not in self.failed
            and self.done.issuperset(self._needs[stage])
        ]

    def is_last(self, stage: Stage) -> bool:
        """Whether no other stage waits for one."""
        return not any(stage in needed for needed in self._needs.values())

    def sent(self, stage: Stage) -> Parcel:
        """Returns what a stage is trained from.

        Raises:
            UsageError: if a file is damaged.
        """
        return parcel.of_needed(self._run_dir, self._needs[stage], stage)

    def reached(self, stage: Stage) -> int:
        """Returns the iteration that a stage goes on from."""
        if not self._run_dir.progress_path(stage).exists():
            return 0
        return max((each["iteration"] for each in self._run_dir.stage_metrics(stage)), default=0)

    def keep(self, stage: Stage, checkpoint: Parcel) -> None:
        """Writes the checkpoint of a stage that is being trained."""
        parcel.put(self._run_dir, stage, checkpoint, self.stages)

    def finish(self, stage: Stage, trained: Parcel) -> None:
        """Writes a stage that has been trained."""
        parcel.put(self._run_dir, stage, trained, self.stages)
        self._run_dir.forget_progress(stage)
        self.done.add(stage)

    def summary(self, stage: Stage) -> dict[str, Any] | None:
        """Returns the numbers of a stage that is done; None of the origin, which has none."""
        return None if stage == ORIGIN else self._run_dir.summary(stage)

    def close(self) -> None:
        """Leaves the directory to others."""
        self.data = None
        self._stack.close()

    def _is_done(self, stage: Stage) -> bool:
        return self._run_dir.has_origin() if stage == ORIGIN else self._run_dir.has(stage)
