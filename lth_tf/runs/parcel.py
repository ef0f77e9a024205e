"""What one machine sends another of a run: files of stages, and evaluations.

The files lie in the run directories of both, under the same names.
"""

import dataclasses
from collections.abc import Iterable, Sequence
from typing import Any

from lth_tf.files import open_file, reading, write_bytes
from lth_tf.runs import rewinding, stage_files
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN, Stage

_ORIGIN = "origin.npz"
_OF_ALL = (_ORIGIN, rewinding.FILE)  # stages


@dataclasses.dataclass(frozen=True)
class Parcel:
    """Parts of a run directory.

    Attributes:
        files: name below the run directory -> content, in the order to write them in.
        metrics: evaluations, as `RunDir.stage_metrics` returns them.
    """

    files: dict[str, bytes]
    metrics: list[dict[str, Any]] = dataclasses.field(default_factory=list)


def of_needed(run_dir: RunDir, needed: Iterable[Stage], stage: Stage) -> Parcel:
    """Returns what a stage is trained from, or goes on from.

    Args:
        run_dir: where it is.
        needed: the finished stages that it is made from.
        stage: what is to be trained; its checkpoint is added if there is one.
    """
    files = _read(run_dir, [name for name in _OF_ALL if (run_dir.path / name).exists()])
    for other in needed:
        if other != ORIGIN:
            files |= of_finished(run_dir, other).files
    progress = run_dir.progress_path(stage)
    if not progress.exists():
        return Parcel(files)
    return Parcel(files | of_checkpoint(run_dir, stage).files, run_dir.stage_metrics(stage))


def of_checkpoint(run_dir: RunDir, stage: Stage) -> Parcel:
    """Returns how far a stage has come."""
    name = str(run_dir.progress_path(stage).relative_to(run_dir.path))
    return Parcel(_read(run_dir, [name]), run_dir.stage_metrics(stage))


def of_finished(run_dir: RunDir, stage: Stage) -> Parcel:
    """Returns a stage that is done, and the origin.

    Raises:
        UsageError: if one of its files is damaged.
    """
    names = [_ORIGIN]
    if stage != ORIGIN:
        # The summary means that the stage is done.
        stored = [*run_dir.summary(stage)["bytes"], stage_files.SUMMARY]
        names += [f"{stage}/{name}" for name in stored]
    return Parcel(_read(run_dir, names), run_dir.stage_metrics(stage))


def put(run_dir: RunDir, stage: Stage, parcel: Parcel, order: Sequence[Stage]) -> None:
    """Writes what was sent of a stage; what is there of finished stages stays as it is.

    Args:
        run_dir: where it goes.
        stage: what the evaluations are of.
        parcel: what was sent.
        order: all stages, in the order of their evaluations.

    Raises:
        RunError: if the disk is full, or a file cannot be written.
    """
    if parcel.metrics:
        run_dir.put_metrics(stage, parcel.metrics, order)
    for name, content in parcel.files.items():
        file = run_dir.path / name
        if name in _OF_ALL and file.exists():
            continue
        write_bytes(file, content)


def _read(run_dir: RunDir, names: Iterable[str]) -> dict[str, bytes]:
    files = {}
    for name in names:
        with reading(run_dir.path / name), open_file(run_dir.path / name) as file:
            files[name] = file.read()
    return files
