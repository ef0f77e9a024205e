"""A run directory: every path in it, every write to it, every read from it.

    config.json      fields of the experiment and what it ran on
    metrics.jsonl    one line an evaluation
    origin.npz       the weights every level starts from
    model.keras      the model, where it is the user's own (model.fit)
    optimizer_init.npz   what its optimizer and random generators start a level with
    level_00/        mask.npz, weights.npz, history.npz, correct.npz, summary.json
    level_00/reinit_0/ ...   the same files for a control
    progress/        a checkpoint inside each running stage, level_00.npz

Files appear only when they are whole (`lth_tf.files`). A level's summary.json comes
last and means that the level is done; see `stage_files` for what lies beside it.
"""

import contextlib
import os
import pathlib
import shutil
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from lth_tf.config import ExperimentConfig, FitConfig, from_record
from lth_tf.errors import UsageError, errors_of, one_line
from lth_tf.files import (
    PARTIAL,
    delete_folder,
    read_arrays,
    read_json,
    reading,
    write_arrays,
    write_bytes,
    write_json,
)
from lth_tf.locks import lock
from lth_tf.masking.arrays import Masks
from lth_tf.runs import metrics, stage_files
from lth_tf.runs.history import Correct, History
from lth_tf.runs.provenance import provenance
from lth_tf.runs.stage import Stage

FORMAT = 2
"""What is written. Format 1 is read too: its stages hold every weight, see `stage_files`."""

_RECORD = {"kind": str, "config": dict, "data": dict, "versions": dict, "continued": list}


class RunDir:
    """The files of one trial of an experiment.

    Args:
        path: the directory; it need not exist.

    Example::

        run_dir = RunDir("runs/lenet/default/seed_0")
        for stage in run_dir.finished():
            print(run_dir.summary(stage)["early_stop_test_accuracy"])
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    @contextlib.contextmanager
    def writing(
        self, config: ExperimentConfig | FitConfig, about: dict[str, Any] | None = None
    ) -> Iterator[None]:
        """Makes the directory ready to be written to, by this process alone.

        Args:
            config: must be what the directory was made with, extent fields aside.
            about: what the run is made on; by default `provenance()`.

        Raises:
            UsageError: if the directory belongs to another config or is none of
                ours, a file in it is damaged, another process writes to it, or it
                cannot be written to.
        """
        self._refuse_foreign()
        about = provenance() if about is None else about
        with self._lock():
            for partial in self.path.rglob(f"*{PARTIAL}"):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
            if self._config_path.exists():
                self._refuse_other_config(config)
                # What is there was made on what the file says; what comes is made on this.
                ours = ("format", "kind", "config")
                first = {k: v for k, v in self.provenance().items() if k not in ours}
                about = {**first, "continued": [*first.get("continued", []), about]}
            record = {"format": FORMAT, "kind": config.kind, "config": config.to_json()}
            write_json(self._config_path, {**record, **about})
            yield

    def delete(self) -> None:
        """Deletes the directory if it is a run directory that nobody writes to.

        Raises:
            UsageError: if it is none, or a process writes to it.
        """
        if not self.path.exists():
            return
        self._refuse_foreign()
        with self._lock():
            delete_folder(self.path)

    def provenance(self) -> dict[str, Any]:
        """Returns what config.json holds: "config", "versions", "data", ...

        Raises:
            UsageError: if there is no such file or it is damaged.
        """
        if not self._config_path.exists():
            raise UsageError(
                f"Expected a run directory. Received: {self.path}, without config.json."
            )
        found = read_json(self._config_path)
        if found.get("format") not in range(1, FORMAT + 1):
            raise UsageError(
                f"Expected {self._config_path} in format 1 to {FORMAT}. Received: "
                f"format={found.get('format')!r}. Read it with the version that wrote it."
            )
        with reading(self._config_path):
            for name, kind in _RECORD.items():
                if not isinstance(found.get(name, kind()), kind):
                    raise ValueError(f"{name} is {found[name]!r}")
            found["config"]
        return found

    def config(self) -> ExperimentConfig | FitConfig:
        """Returns the config the directory was made with.

        Raises:
            UsageError: if there is none, or it is damaged or of another version.
        """
        about = self.provenance()
        try:
            return from_record(about.get("kind", ExperimentConfig.kind), about["config"])
        except Exception as error:  # whatever a damaged value leads to
            raise UsageError(f"Could not use {self._config_path}: {one_line(error)}") from error

    def finished(self) -> list[Stage]:
        """Returns the stages that are done, by level, each level's ticket first."""
        levels = list(self.path.glob("level_*"))
        folders = levels + [control for level in levels for control in level.glob("*/")]
        stages = [Stage.parse(str(folder.relative_to(self.path))) for folder in folders]
        return sorted(stage for stage in stages if stage is not None and self._is_done(stage))

    def has(self, stage: Stage) -> bool:
        """True if a stage is done.

        Raises:
            UsageError: if it is, but one of its files is missing or cut short.
        """
        if not self._is_done(stage):
            return False
        stage_files.check_sizes(self.path / str(stage), stage)
        return True

    def level_path(self, stage: Stage, name: str = "") -> pathlib.Path:
        """Returns the folder of a finished stage, or one of its files, e.g. "weights.npz".

        Raises:
            UsageError: if the stage is not done; the message lists the levels that are.
        """
        if not self._is_done(stage):
            levels = sorted({done.level for done in self.finished()})
            raise UsageError(
                f"Expected a finished level of {self.path}: "
                f"{', '.join(map(str, levels)) or 'there is none yet'}. Received: {stage}."
            )
        return self.path / str(stage) / name

    def summary(self, stage: Stage) -> dict[str, Any]:
        """Returns the numbers of a finished stage."""
        return stage_files.read_summary(self.level_path(stage), stage)

    def history(self, stage: Stage) -> dict[str, np.ndarray]:
        """Returns name -> array [evaluations] of a finished stage."""
        return stage_files.read_history(self.level_path(stage), stage)

    def correct(self, stage: Stage) -> Correct | None:
        """Returns which labels a finished stage predicts; None where that was not recorded."""
        return stage_files.read_correct(self.level_path(stage), stage)

    def mask(self, stage: Stage) -> Masks:
        """Returns the masks a finished stage was trained under."""
        return stage_files.read_masks(self.level_path(stage), stage)

    def trained(self, stage: Stage) -> dict[str, np.ndarray]:
        """Returns the weights at the end of a finished stage: mask * trained."""
        return stage_files.read_weights(self.level_path(stage), stage)

    def ticket(self, level: int) -> dict[str, np.ndarray]:
        """Returns the weights a finished level started from: mask * origin."""
        masks = self.mask(Stage(level))
        return {
            path: value * masks[path].astype(value.dtype) if path in masks else value
            for path, value in self.origin().items()
        }

    def save_stage(
        self,
        stage: Stage,
        masks: Masks,
        weights: dict[str, np.ndarray],
        history: History | None,
    ) -> None:
        """Writes a stage that is done and forgets its checkpoint.

        Args:
            stage: what was trained.
            masks: weight path -> uint8 array.
            weights: path -> array of every weight; of those that are pruned none is kept.
            history: what was measured.

        Raises:
            ValueError: if nothing was.
        """
        if history is None:
            raise ValueError(f"Expected what was measured of {stage}. Received: history=None.")
        stage_files.write(self.path / str(stage), stage, masks, weights, history)
        self.forget_progress(stage)

    def has_origin(self) -> bool:
        """True if the weights that every level starts from are there."""
        return self._origin_path.exists()

    def origin(self) -> dict[str, np.ndarray]:
        """Returns the weights that every level starts from, nothing pruned."""
        with reading(self._origin_path):
            weights = read_arrays(self._origin_path)
            stage_files.check_finite(weights)
        return weights

    def save_origin(self, weights: dict[str, np.ndarray]) -> None:
        """Writes the weights that every level starts from."""
        write_arrays(self._origin_path, weights)

    def has_model(self) -> bool:
        """True if the model itself is there, as it is where `model.fit` found the tickets."""
        return self.model_path.exists()

    def save_model(self, content: bytes) -> None:
        """Writes the model, a .keras file."""
        write_bytes(self.model_path, content)

    @property
    def model_path(self) -> pathlib.Path:
        """Path of the model's .keras file."""
        return self.path / "model.keras"

    def save_optimizer_init(self, values: dict[str, np.ndarray]) -> None:
        """Writes what optimizer and random generators start a level of a `fit` with."""
        write_arrays(self._optimizer_init_path, values)

    def optimizer_init(self) -> dict[str, np.ndarray] | None:
        """Returns what `save_optimizer_init` wrote, or None."""
        return (
            read_arrays(self._optimizer_init_path) if self._optimizer_init_path.exists() else None
        )

    def save_progress(self, stage: Stage, state: dict[str, np.ndarray]) -> None:
        """Writes a checkpoint inside a running stage, in place of the last one."""
        file = self.progress_path(stage)
        with errors_of(file):
            file.parent.mkdir(exist_ok=True)
        write_arrays(file, {**state, "stage": np.array(str(stage))})

    def progress(self, stage: Stage) -> dict[str, np.ndarray] | None:
        """Returns the checkpoint inside a stage, or None."""
        for file in (self.progress_path(stage), self._former_progress_path):
            if file.exists():
                state = read_arrays(file)
                if str(state.pop("stage", "")) == str(stage):
                    return state
        return None

    def forget_progress(self, stage: Stage) -> None:
        """Deletes the checkpoint inside a stage, if there is one."""
        self.progress_path(stage).unlink(missing_ok=True)
        # Earlier versions had one file for all stages: it may be the checkpoint of another.
        if self.progress(stage) is not None:
            self._former_progress_path.unlink()
        with contextlib.suppress(OSError):  # there is none, or other stages have theirs there
            self.progress_path(stage).parent.rmdir()

    def progress_path(self, stage: Stage) -> pathlib.Path:
        """Returns the file of the checkpoint inside a stage; it need not be there."""
        return self.path / "progress" / f"{str(stage).replace('/', '.')}.npz"

    def metrics(self) -> list[dict[str, Any]]:
        """Returns every evaluation so far; a torn last line is left out."""
        return metrics.read(self._metrics_path)

    def append_metrics(self, stage: Stage, evaluation: dict[str, Any]) -> None:
        """Adds one evaluation to metrics.jsonl."""
        metrics.append(self._metrics_path, stage, evaluation)

    def forget_metrics(self, stage: Stage, after: int) -> None:
        """Drops a stage's evaluations after an iteration: they will be made again."""
        metrics.forget(self._metrics_path, stage, after)

    def stage_metrics(self, stage: Stage) -> list[dict[str, Any]]:
        """Returns the evaluations of a stage."""
        return metrics.of_stage(self._metrics_path, stage)

    def put_metrics(
        self, stage: Stage, records: list[dict[str, Any]], order: Sequence[Stage]
    ) -> None:
        """Replaces the evaluations of a stage; those of all stand in the order of the stages."""
        metrics.put(self._metrics_path, stage, records, order)

    @property
    def _config_path(self) -> pathlib.Path:
        return self.path / "config.json"

    @property
    def _origin_path(self) -> pathlib.Path:
        return self.path / "origin.npz"

    @property
    def _optimizer_init_path(self) -> pathlib.Path:
        former = self.path / "start.npz"
        return former if former.exists() else self.path / "optimizer_init.npz"

    @property
    def _metrics_path(self) -> pathlib.Path:
        return self.path / "metrics.jsonl"

    @property
    def _former_progress_path(self) -> pathlib.Path:
        return self.path / "progress" / "checkpoint.npz"

    def _is_done(self, stage: Stage) -> bool:
        return (self.path / str(stage) / stage_files.SUMMARY).exists()

    def _refuse_foreign(self) -> None:
        if self.path.is_dir() and not self._config_path.exists():
            files = sorted(
                p.name
                for p in self.path.iterdir()
                if p.name != "lock" and not p.name.endswith(PARTIAL)
            )
            if files:
                raise UsageError(
                    f"Expected a run directory or an empty folder. Received: {self.path}, which "
                    f"holds {files[0]!r} and no config.json. Choose another folder.",
                    arguments=("runs_dir",),
                )

    def _refuse_other_config(self, config: ExperimentConfig | FitConfig) -> None:
        found = self.config()
        if found.kind != config.kind:
            raise UsageError(
                f"Expected a run of the kind {found.kind}, as {self._config_path} says. "
                f"Received: {config.kind}. Choose another folder."
            )
        old, new = found.as_dict(in_run_name=True), config.as_dict(in_run_name=True)
        different = [
            f"{name}={old.get(name)!r}, not {new.get(name)!r}"
            for name in {**old, **new}
            if old.get(name) != new.get(name)
        ]
        if different:
            raise UsageError(
                f"Expected the config of {self._config_path}. Received another one: the file has "
                f"{'; '.join(different)}. Use another folder, or delete it to start again.",
                arguments=("runs_dir", "overwrite"),
            )

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return lock(
            self.path / "lock",
            expected="a run directory that no process writes to",
            received=self.path,
        )
