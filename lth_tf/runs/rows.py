"""Finished runs as rows, one a training, ready for a table."""

import os
import pathlib
from collections.abc import Iterable
from typing import Any

from lth_tf.errors import UsageError
from lth_tf.runs.run_dir import RunDir

Row = dict[str, Any]


def rows(*folders: str | os.PathLike) -> list[Row]:
    """Returns a row for every finished training of the runs in or below some folders.

    Args:
        *folders: run directories, or folders with run directories below them.

    Returns:
        Dicts with the same keys, for `pandas.DataFrame` or `csv.DictWriter`: "run" (path), "level",
        "control" ("" for the ticket itself, e.g. "reinit_0"), what the run recorded of the
        training ("density", a fraction; "remaining", in weights; iterations; seconds; values of the
        metric, of accuracies fractions), and the config's fields. None where a run has no
        such field, as those of other methods.

    Raises:
        UsageError: if a folder holds no finished training, or a run is damaged.

    Example::

        table = pandas.DataFrame(lth_tf.runs("runs"))
        table[table.control == ""].groupby("level").final_test_accuracy.mean()
    """
    found = []
    for run in find_run_dirs(folders):
        config = run.config().as_dict()
        for stage in run.finished():
            place = {"run": str(run.path), "level": stage.level, "control": stage.control}
            found.append({**place, **config, **place, **run.summary(stage)})
    names = list(dict.fromkeys(name for row in found for name in row))
    return [{name: row.get(name) for name in names} for row in found]


def find_run_dirs(
    folders: Iterable[str | os.PathLike], left_out: list[UsageError] | None = None
) -> list[RunDir]:
    """Returns the runs with a finished training in or below the given folders.

    Args:
        folders: run directories, or folders with run directories below them.
        left_out: gets the error of every damaged run, which is left out then.

    Raises:
        UsageError: if a folder holds no run with a finished training; if a run is damaged, and
            `left_out` is None or no other run is there.
    """
    found: dict[pathlib.Path, RunDir] = {}
    for folder in map(pathlib.Path, folders):
        configs = sorted(folder.glob("config.json")) or sorted(folder.glob("**/config.json"))
        damaged: list[UsageError] = []
        runs = [RunDir(file.parent) for file in configs]
        runs = [run for run in runs if _is_readable(run, damaged) and run.finished()]
        if damaged and (left_out is None or not runs):
            raise damaged[0]
        if left_out is not None:
            left_out += damaged
        if not runs:
            raise UsageError(
                f"Expected a run directory with a finished level. Received: {folder}, "
                f"{'where there is none' if folder.exists() else 'which does not exist'}."
            )
        found |= {run.path.resolve(): run for run in runs}
    return list(found.values())


def _is_readable(run: RunDir, damaged: list[UsageError]) -> bool:
    """Returns whether all that a table is made of can be read; else adds the error."""
    try:
        run.config()
        for stage in run.finished():
            run.summary(stage)
            run.history(stage)
            run.correct(stage)
    except UsageError as error:
        damaged.append(error)
        return False
    return True
