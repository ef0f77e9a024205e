"""Analyses of the runs of a report: which can be made, and what they found."""

import pathlib
from collections.abc import Iterable, Mapping, Sequence

from lth_tf.analysis import ANALYSES
from lth_tf.analysis.base import FILES, Analysis, Subject
from lth_tf.analysis.bench import Bench
from lth_tf.analysis.survey import Looked, survey
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports

from .results import Row, Run, find_runs, percent

with lazy_imports():
    from lth_tf.datasets import recorded
    from lth_tf.tickets import bench as bench_of
    from lth_tf.tickets import load
    from lth_tf.training import devices


def of_files() -> dict[str, Analysis]:
    """Returns name -> analysis of those that need files only, with their default options."""
    return {name: kind() for name, kind in ANALYSES.items().items() if kind.needs == FILES}


def subject(run: Run, bench: Bench | None = None, levels: tuple[int, ...] | None = None) -> Subject:
    """Returns a run for analyses.

    Args:
        run: the run.
        bench: its network and data; None for analyses of files.
        levels: those to look at; None for all.
    """
    return Subject(run.directory, run.series(""), bench, levels)


def readable(folders: Iterable[str], left_out: list[str]) -> list[Run]:
    """Returns the runs in or below some folders.

    Args:
        folders: run directories, or folders with run directories below them.
        left_out: gets a line for each damaged run.

    Raises:
        UsageError: if a folder holds no finished run that can be read.
    """
    damaged: list[UsageError] = []
    runs = find_runs(folders, damaged)
    left_out += [str(error) for error in damaged]
    return runs


def benches(runs: Iterable[Run], data_dir: str, left_out: list[str]) -> dict[pathlib.Path, Bench]:
    """Returns run directory -> network and data, of the runs whose are to be had.

    Args:
        runs: the runs.
        data_dir: TFDS folder; "" for the one that a run names.
        left_out: gets a line for each other run.
    """
    found, loaded = {}, {}
    for run in runs:
        config = run.config
        try:
            devices.configure(deterministic=True)  # before the first tensor
            key = (config.dataset, config.network, config.seed)
            if key not in loaded:
                loaded[key] = recorded.data_of(run.directory, data_dir)
            found[run.directory.path] = bench_of.bench(run.directory, loaded[key])
        except UsageError as error:
            left_out.append(str(error))
    return found


def smallest(run: Run) -> tuple[int, ...]:
    """Returns the level of a run's smallest winning ticket; its last level if none wins."""
    try:
        return (load.winning_level(run.directory),)
    except UsageError:
        return (max(stage.level for stage in run.stages()),)


def found(
    subjects: Sequence[Subject],
    analyses: Mapping[str, Analysis],
    left_out: list[str] | None = None,
    looked: Looked = lambda level: None,
) -> dict[str, list[Row]]:
    """Returns name of an analysis -> its rows, densities rounded as in other tables.

    Args:
        subjects: the runs.
        analyses: name -> analysis.
        left_out: gets a line for whatever cannot be analysed; None raises.
        looked: see `lth_tf.analysis.survey.survey`.

    Raises:
        UsageError: if a file is missing or damaged, and `left_out` is None.
    """
    rows = survey(subjects, analyses, left_out, looked)
    return {
        name: [{**row, "remaining": percent(row["remaining"] / 100)} for row in of_one]
        for name, of_one in rows.items()
    }
