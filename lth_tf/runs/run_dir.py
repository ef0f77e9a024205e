"""A run directory: every path in it, every write to it, every read from it.

    config.json      fields of the experiment and what it ran on
    metrics.jsonl    one line an evaluation
    origin.npz       the weights every level starts from
    model.keras      the model, where it is the user's own (model.fit)
    start.npz        what its optimizer and random generators start a level with
    level_00/        mask.npz, weights.npz, history.npz, summary.json
    level_00/reinit_0/ ...   the same files for a control
    progress/        checkpoint inside the running level

Files appear only when they are whole (`lth_tf.files`). A level's summary.json comes
last and means that the level is done.
"""

import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
from collections.abc import Iterator
from typing import Any

import numpy as np

from lth_tf.config import ExperimentConfig, FitConfig, from_record
from lth_tf.errors import UsageError, errors_of
from lth_tf.files import (
    PARTIAL,
    damaged,
    delete_folder,
    read_arrays,
    read_json,
    write_arrays,
    write_bytes,
    write_json,
)
from lth_tf.locks import lock
from lth_tf.masking.arrays import Masks, density, pack, remaining, total, unpack
from lth_tf.runs.history import History

FORMAT = 1

_WAY_OUT = {
    "fit": "Use another run_dir, or delete the folder to start again.",
    **dict.fromkeys(
        ("experiment", "gradual"), "Use another --runs_dir, or --overwrite to start again."
    ),
}
_LEVEL_FILES = ("mask.npz", "weights.npz", "history.npz")


@dataclasses.dataclass(frozen=True)
class Stage:
    """One training of an experiment: a level, or a control of a level.

    Attributes:
        level: 0 is the dense network.
        control: "" for the ticket itself, else the control's name, e.g. "reinit_0".
    """

    level: int
    control: str = ""

    def __str__(self) -> str:
        return f"level_{self.level:02d}" + (f"/{self.control}" if self.control else "")


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
        self, config: ExperimentConfig | FitConfig, about: dict[str, Any]
    ) -> Iterator[None]:
        """Makes the directory ready to be written to, by this process alone.

        Args:
            config: must be what the directory was made with, extent fields aside.
            about: what the trial runs on: arguments, versions, device, data.

        Raises:
            UsageError: if the directory belongs to another config or is none of
                ours, a file in it is damaged, another process writes to it, or it
                cannot be written to.
        """
        self._refuse_foreign()
        with self._lock():
            for partial in self.path.rglob(f"*{PARTIAL}"):
                shutil.rmtree(partial) if partial.is_dir() else partial.unlink()
            if self._config_path.exists():
                self._refuse_other_config(config)
                # What is there was made on what the file says; what comes is made on this.
                ours = ("format", "kind", "config")
                first = {k: v for k, v in self.about().items() if k not in ours}
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

    def about(self) -> dict[str, Any]:
        """Returns what config.json holds: "config", "versions", "data", ...

        Raises:
            UsageError: if there is no such file or it is damaged.
        """
        if not self._config_path.exists():
            raise UsageError(
                f"Expected a run directory. Received: {self.path}, without config.json."
            )
        found = read_json(self._config_path)
        if found.get("format") != FORMAT or "config" not in found:
            raise UsageError(
                f"Expected {self._config_path} in format {FORMAT}. "
                f"Received: format={found.get('format')!r}. Read it with the version that wrote it."
            )
        return found

    def config(self) -> ExperimentConfig | FitConfig:
        """Returns the config the directory was made with."""
        about = self.about()
        return from_record(about.get("kind", ExperimentConfig.kind), about["config"])

    def finished(self) -> list[Stage]:
        """Returns the stages that are done, by level, each level's ticket first."""
        stages = []
        for summary in self.path.glob("level_*/**/summary.json"):
            level, *control = summary.parent.relative_to(self.path).parts
            stages.append(Stage(int(level.removeprefix("level_")), "/".join(control)))
        return sorted(stages, key=lambda stage: (stage.level, stage.control))

    def has(self, stage: Stage) -> bool:
        """True if a stage is done.

        Raises:
            UsageError: if it is, but one of its files is missing or cut short.
        """
        if not (self._folder(stage) / "summary.json").exists():
            return False
        for name, size in self.summary(stage)["bytes"].items():
            file = self._folder(stage) / name
            if not file.exists() or file.stat().st_size != size:
                raise UsageError(damaged(file, f"expected {size} bytes"))
        return True

    def level_path(self, stage: Stage, name: str) -> pathlib.Path:
        """Returns the path of one of a stage's files, e.g. "weights.npz".

        Raises:
            UsageError: if the stage is not done; the message lists the levels that are.
        """
        file = self._folder(stage) / name
        if not (self._folder(stage) / "summary.json").exists():
            levels = sorted({done.level for done in self.finished()})
            raise UsageError(
                f"Expected a finished level of {self.path}: "
                f"{', '.join(map(str, levels)) or 'there is none yet'}. Received: {stage}."
            )
        return file

    def summary(self, stage: Stage) -> dict[str, Any]:
        """Returns the numbers of a finished stage."""
        return read_json(self.level_path(stage, "summary.json"))

    def history(self, stage: Stage) -> dict[str, np.ndarray]:
        """Returns name -> array [evaluations] of a finished stage."""
        return read_arrays(self.level_path(stage, "history.npz"))

    def mask(self, stage: Stage) -> Masks:
        """Returns the masks a finished stage was trained under."""
        file = self.level_path(stage, "mask.npz")
        try:
            return unpack(read_arrays(file))
        except UsageError:
            raise
        except ValueError as error:
            raise UsageError(damaged(file, str(error))) from error

    def trained(self, stage: Stage) -> dict[str, np.ndarray]:
        """Returns the weights at the end of a finished stage: mask * trained."""
        return read_arrays(self.level_path(stage, "weights.npz"))

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
        history: History,
    ) -> None:
        """Writes a stage that is done and forgets its checkpoint."""
        summary = {
            "level": stage.level,
            "control": stage.control,
            "density": density(masks),
            "remaining": remaining(masks),
            "total": total(masks),
            **history.summary(),
        }
        folder = self._folder(stage)
        with errors_of(folder):
            folder.mkdir(parents=True, exist_ok=True)
        contents = (pack(masks), weights, history.arrays())
        for name, arrays in zip(_LEVEL_FILES, contents, strict=True):
            write_arrays(folder / name, arrays)
        sizes = {name: (folder / name).stat().st_size for name in _LEVEL_FILES}
        write_json(folder / "summary.json", {**summary, "bytes": sizes})
        shutil.rmtree(self.path / "progress", ignore_errors=True)

    def has_origin(self) -> bool:
        """True if the weights that every level starts from are there."""
        return self._origin_path.exists()

    def origin(self) -> dict[str, np.ndarray]:
        """Returns the weights that every level starts from, nothing pruned."""
        return read_arrays(self._origin_path)

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

    def save_start(self, values: dict[str, np.ndarray]) -> None:
        """Writes what optimizer and random generators start a level of a `fit` with."""
        write_arrays(self._start_path, values)

    def start(self) -> dict[str, np.ndarray] | None:
        """Returns what `save_start` wrote, or None."""
        return read_arrays(self._start_path) if self._start_path.exists() else None

    def save_progress(self, stage: Stage, state: dict[str, np.ndarray]) -> None:
        """Writes a checkpoint inside the running stage, in place of the last one."""
        with errors_of(self._progress_path):
            self._progress_path.parent.mkdir(exist_ok=True)
        write_arrays(self._progress_path, {**state, "stage": np.array(str(stage))})

    def progress(self, stage: Stage) -> dict[str, np.ndarray] | None:
        """Returns the checkpoint inside a stage, or None."""
        if not self._progress_path.exists():
            return None
        state = read_arrays(self._progress_path)
        return state if str(state.pop("stage", "")) == str(stage) else None

    def metrics(self) -> list[dict[str, Any]]:
        """Returns every evaluation so far; a torn last line is left out."""
        if not self._metrics_path.exists():
            return []
        lines = self._metrics_path.read_text().splitlines()
        found = []
        for number, line in enumerate(lines, 1):
            try:
                found.append(json.loads(line))
            except ValueError as error:
                if number < len(lines):
                    raise UsageError(
                        damaged(self._metrics_path, f"line {number}: {error}")
                    ) from error
        return found

    def append_metrics(self, stage: Stage, evaluation: dict[str, Any]) -> None:
        """Adds one evaluation to metrics.jsonl."""
        record = {"level": stage.level, "control": stage.control, **evaluation}
        with errors_of(self._metrics_path), open(self._metrics_path, "a") as file:
            file.write(json.dumps(record) + "\n")

    def forget_metrics(self, stage: Stage, after: int) -> None:
        """Drops a stage's evaluations after an iteration: they will be made again."""
        kept = [
            record
            for record in self.metrics()
            if (record["level"], record["control"]) != (stage.level, stage.control)
            or record["iteration"] <= after
        ]
        text = "".join(json.dumps(record) + "\n" for record in kept)
        write_bytes(self._metrics_path, text.encode())

    @property
    def _config_path(self) -> pathlib.Path:
        return self.path / "config.json"

    @property
    def _origin_path(self) -> pathlib.Path:
        return self.path / "origin.npz"

    @property
    def _start_path(self) -> pathlib.Path:
        return self.path / "start.npz"

    @property
    def _metrics_path(self) -> pathlib.Path:
        return self.path / "metrics.jsonl"

    @property
    def _progress_path(self) -> pathlib.Path:
        return self.path / "progress" / "checkpoint.npz"

    def _folder(self, stage: Stage) -> pathlib.Path:
        return self.path / str(stage)

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
                    f"holds {files[0]!r} and no config.json. Choose another --runs_dir."
                )

    def _refuse_other_config(self, config: ExperimentConfig | FitConfig) -> None:
        found = self.config()
        if found.kind != config.kind:
            raise UsageError(
                f"Expected a run of the kind {found.kind}, as {self._config_path} says. "
                f"Received: {config.kind}. Choose another folder."
            )
        different = [
            f"{field.name}={getattr(found, field.name)!r}, not {getattr(config, field.name)!r}"
            for field in dataclasses.fields(config)
            if not field.metadata["extent"]
            and getattr(found, field.name) != getattr(config, field.name)
        ]
        if different:
            raise UsageError(
                f"Expected the config of {self._config_path}. Received another one: the file has "
                f"{'; '.join(different)}. {_WAY_OUT[config.kind]}"
            )

    def _lock(self) -> contextlib.AbstractContextManager[None]:
        return lock(
            self.path / "lock",
            expected="a run directory that no process writes to",
            received=self.path,
        )
