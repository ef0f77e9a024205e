"""One row for what a run came to with all its seeds; `list` and `compare` print them."""

import dataclasses
import pathlib
import statistics
import sys
from collections.abc import Callable, Iterable, Sequence
from typing import Any

from lth_tf.cli.table import Column, table
from lth_tf.errors import UsageError
from lth_tf.options import Options, option
from lth_tf.runs.rows import Row
from lth_tf.tickets import judging
from lth_tf.tickets.verdict import judge, seed_of

from .results import Run, find_runs, percent, write_csv

COLUMNS = (
    Column("run", left=True, shrink=True),
    Column("seeds", drop=2),
    Column("levels", drop=4),
    Column("dense", drop=1),
    Column("% left"),
    Column("early stop", drop=3),
    Column("accuracy"),
    Column("verdict", left=True, drop=5),
)


@dataclasses.dataclass(frozen=True)
class TableOptions(Options):
    """Where the rows go."""

    csv: str = option("", "CSV file to write them to as well.")


def show(
    folders: Sequence[str], rows_of: Callable[[list[Run]], list[Row]], options: TableOptions
) -> None:
    """Prints a table of the runs in some folders, and writes it if asked to.

    Damaged runs are left out and named on stderr.

    Args:
        folders: as the command line gave them; paths are shown as from the only one.
        rows_of: makes rows of runs.
        options: where the rows go.
    """
    left_out: list[UsageError] = []
    runs = find_runs(folders, left_out)
    rows = rows_of(runs)
    print(text(_names_from(pathlib.Path(folders[0]), rows) if len(folders) == 1 else rows))
    for error in left_out:
        print(f"Left out, a damaged run. {error}", file=sys.stderr)
    if options.csv:
        write_csv(pathlib.Path(options.csv), rows)


def by_folder(runs: Iterable[Run]) -> dict[str, list[Run]]:
    """Returns name -> its runs: seeds of one experiment lie in one folder."""
    groups: dict[str, list[Run]] = {}
    for run in runs:
        path = run.directory.path
        folder = path.parent if path.name.startswith("seed_") else path
        groups.setdefault(str(folder), []).append(run)
    return groups


def by_series(runs: Iterable[Run]) -> dict[str, list[tuple[Run, str]]]:
    """Returns name of a curve -> its runs, each with the control that it is of."""
    groups: dict[str, list[tuple[Run, str]]] = {}
    for run in runs:
        for control in dict.fromkeys(stage.control for stage in run.stages()):
            groups.setdefault(run.series(control), []).append((run, control))
    return groups


def overview(name: str, runs: Sequence[tuple[Run, str]]) -> Row:
    """Returns what the seeds of a run came to, as numbers; None where there is none.

    Args:
        name: what the row is called.
        runs: its seeds, each with the name of the control that is meant, "" for tickets.

    Returns:
        "run", "network", "dataset", "control", "seeds" (those whose dense network has learned; all
        if there is none), "levels" (the last one that is done),
        "metric"; "dense", "dense_min", "dense_max" (at early stop, accuracies as fractions) and
        "dense_early_stop" (iteration); of the smallest winning ticket "level", "density" (a
        fraction), "early_stop" and "accuracy", "accuracy_min", "accuracy_max"; "verdict" in a word.
    """
    first, control = runs[0]
    seeds = [seed_of(run.directory, name_of) for run, name_of in runs]
    verdict = judge(seeds)
    found = verdict.smallest
    dense = [_reached(seed.dense) for seed in verdict.judged or seeds if seed.dense is not None]
    there = [_reached(seed.levels[found.level]) for seed in verdict.judged] if found else []
    row: Row = {
        "run": name,
        "network": first.config.network,
        "dataset": first.config.dataset,
        "control": control,
        "seeds": len(verdict.judged or seeds),
        "levels": max((level for seed in seeds for level in seed.levels), default=0),
        "metric": verdict.metric,
        **_spread("dense", dense),
        "dense_early_stop": None if verdict.nothing else verdict.dense_iteration,
        "level": found.level if found else None,
        "density": found.density if found else None,
        "early_stop": found.early_stop_iteration if found else None,
        **_spread("accuracy", there),
        "verdict": _verdict(verdict),
    }
    return row


def text(rows: Sequence[Row], width: int | None = None) -> str:
    """Returns the rows as a table that fits the terminal."""
    return table(COLUMNS, [_cells(row) for row in rows], width)


def _names_from(folder: pathlib.Path, rows: Sequence[Row]) -> list[Row]:
    """Returns the rows with their paths as they are called from a folder."""
    return [
        {**row, "run": str(pathlib.Path(row["run"]).relative_to(folder))}
        if pathlib.Path(row["run"]).is_relative_to(folder)
        else row
        for row in rows
    ]


def _verdict(verdict: Any) -> str:
    if verdict.nothing:
        return f"nothing to compare with: {verdict.nothing}"
    if not verdict.levels:
        return "only the dense network"
    return verdict.smallest.comparison.word if verdict.smallest else "no winning ticket"


def _reached(training: Any) -> float:
    return training.summary["early_stop_test_accuracy"]


def _spread(name: str, values: Sequence[float]) -> Row:
    if not values:
        return {name: None, f"{name}_min": None, f"{name}_max": None}
    return {
        name: statistics.fmean(values),
        f"{name}_min": min(values),
        f"{name}_max": max(values),
    }


def _cells(row: Row) -> list[str]:
    stop = ""
    if row["early_stop"] is not None:
        stop = f"{row['early_stop']:,.0f} / {row['dense_early_stop']:,.0f}"
    return [
        row["run"],
        str(row["seeds"]),
        str(row["levels"]),
        _value(row, "dense"),
        "" if row["density"] is None else f"{percent(row['density']):g}",
        stop,
        _value(row, "accuracy"),
        row["verdict"],
    ]


def _value(row: Row, name: str) -> str:
    """Returns a mean, with the smallest and the largest if there are several seeds."""
    if row[name] is None:
        return ""
    exact = judging.is_accuracy(row["metric"])
    mean, low, high = (
        f"{100 * row[key]:.2f}" if exact else f"{row[key]:.4g}"
        for key in (name, f"{name}_min", f"{name}_max")
    )
    return mean if row["seeds"] == 1 else f"{mean} ({low}-{high})"
