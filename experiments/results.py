"""The numbers of finished runs as rows, ready for tables and charts."""

import csv
import dataclasses
import math
import os
import pathlib
from collections.abc import Iterable
from typing import Any

from lth_tf.cli.program import command
from lth_tf.config import ExperimentConfig, FitConfig
from lth_tf.errors import UsageError
from lth_tf.files import atomic_path
from lth_tf.runs.rows import Row, find_run_dirs
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets import judging
from lth_tf.tickets.procedure import control_label
from lth_tf.tickets.verdict import judge_runs
from lth_tf.tickets.verdict_text import told

from . import series


@dataclasses.dataclass(frozen=True)
class Run:
    """One trial to report on.

    Attributes:
        directory: its run directory.
        experiment: name of the experiment it belongs to.
        config: its config.
        label: what tells it from the other runs of the report, seeds aside.
    """

    directory: RunDir
    experiment: str
    config: ExperimentConfig | FitConfig
    label: str

    def series(self, control: str) -> str:
        """Returns the name of the curve that a stage of this run belongs to."""
        parts = [part for part in (self.label, control_label(control)) if part]
        method = self.config.method
        return ", ".join(parts) or ("tickets" if method.finds_tickets else method.label())

    @property
    def network(self) -> str:
        """Network and data set; of a network given as a function the function's name."""
        return f"{self.config.network.rpartition('.')[2]} on {self.config.dataset}"

    @property
    def judged_on(self) -> str:
        """What its "test" metric was measured on: "test data" or "validation data"."""
        return getattr(self.config, "judged_on", "test data")

    def stages(self) -> list[Stage]:
        """Returns the finished stages."""
        return self.directory.finished()


def find_runs(
    paths: Iterable[str | os.PathLike], left_out: list[UsageError] | None = None
) -> list[Run]:
    """Returns the runs in or below the given folders.

    Args:
        paths: run directories, or folders with run directories below them.
        left_out: gets the error of every damaged run, which is left out then.

    Raises:
        UsageError: if a folder holds no run with a finished level; if a run is damaged, and
            `left_out` is None or no other run is there.
    """
    found = find_run_dirs(paths, left_out)
    configs = [run.config() for run in found]
    return [
        Run(run, series.experiment_of(run, config), config, label)
        for run, config, label in zip(found, configs, series.labels(found), strict=True)
    ]


def percent(density: float) -> float:
    """Returns a density in percent, with two decimals or four digits, whatever is more.

    Example:
    >>> percent(0.21071), percent(0.000012345)
    (21.07, 0.001234)
    """
    value = 100 * density
    return round(value, max(2, 3 - math.floor(math.log10(value)))) if value > 0 else 0.0


def measured(rows: list[Row]) -> tuple[str, str]:
    """Returns what the accuracies of rows are, and " (%)" if they are in percent.

    Example:
    >>> measured([{"metric": "accuracy"}, {"metric": "accuracy"}]), measured([{"metric": "mae"}])
    (('accuracy', ' (%)'), ('mae', ''))
    """
    names = sorted({row["metric"] for row in rows})
    percent = [name for name in names if judging.is_accuracy(name)]
    if percent and percent != names:
        return " and ".join(names), f" ({', '.join(percent)} in %)"
    return " and ".join(names), " (%)" if percent else ""


def judged(rows: list[Row]) -> str:
    """Returns what the rows were judged on, as the first word of an axis.

    Example:
    >>> judged([{"judged_on": "test data"}]), judged([{"judged_on": "validation data"}])
    ('Test', 'Validation')
    """
    words = sorted({row["judged_on"].removesuffix(" data") for row in rows})
    return " or ".join(words).capitalize()


def level_rows(runs: list[Run]) -> list[Row]:
    """Returns a row for every finished stage: densities in %, accuracies in %.

    What a `fit` was judged by instead of an accuracy, named under "metric", is in its own unit.
    """
    rows = []
    for run in runs:
        for stage in run.stages():
            summary = run.directory.summary(stage)
            metric, mode = judging.judged_by(summary)
            early_stop, final, train = (
                judging.in_its_unit(summary[f"{name}_accuracy"], metric)
                for name in ("early_stop_test", "final_test", "final_train")
            )
            rows.append(
                {
                    "series": run.series(stage.control),
                    "experiment": run.experiment,
                    "seed": run.config.seed,
                    "level": stage.level,
                    "control": stage.control,
                    "remaining": percent(summary["density"]),
                    "weights": summary["remaining"],
                    "early_stop_iteration": summary["early_stop_iteration"],
                    "early_stop_accuracy": early_stop,
                    "final_accuracy": final,
                    "train_accuracy": train,
                    "metric": metric,
                    "mode": mode,
                    "judged_on": run.judged_on,
                    "iterations": summary["iterations"],
                    "seconds": summary["seconds"],
                }
            )
    return rows


def curve_rows(runs: list[Run]) -> list[Row]:
    """Returns a row for every point of a test curve, accuracies in %, else as `level_rows`."""
    rows = []
    for run in runs:
        for stage in run.stages():
            history = run.directory.history(stage)
            summary = run.directory.summary(stage)
            metric, mode = judging.judged_by(summary)
            remaining = percent(summary["density"])
            for iteration, accuracy in zip(
                history["iteration"], history["test_accuracy"], strict=True
            ):
                if accuracy == accuracy:
                    rows.append(
                        {
                            "series": run.series(stage.control),
                            "seed": run.config.seed,
                            "level": stage.level,
                            "control": stage.control,
                            "remaining": remaining,
                            "iteration": int(iteration),
                            "test_accuracy": judging.in_its_unit(accuracy, metric),
                            "metric": metric,
                            "mode": mode,
                            "judged_on": run.judged_on,
                        }
                    )
    return rows


def nearest_densities(rows: list[Row], wanted: Iterable[float]) -> list[float]:
    """Returns the percentages among the rows that are nearest to the wanted ones.

    Example:
    >>> nearest_densities([{"remaining": 100.0}, {"remaining": 21.07}], (100, 21.1, 22))
    [100.0, 21.07]
    """
    have = sorted({row["remaining"] for row in rows}, reverse=True)
    chosen = {min(have, key=lambda value: abs(value - want)) for want in wanted} if have else set()
    return sorted(chosen, reverse=True)


def at_iterations(rows: list[Row], wanted: Iterable[int]) -> list[Row]:
    """Returns the curve points nearest to the wanted iterations, one a stage and iteration."""
    have = sorted({row["iteration"] for row in rows})
    if not have:
        return []
    chosen = {min(have, key=lambda value: abs(value - want)) for want in wanted}
    return [row for row in rows if row["iteration"] in chosen]


def outcome(run_dir: RunDir) -> str:
    """Returns the smallest winning ticket of a run and the command that exports it."""
    verdict = judge_runs([run_dir])
    if not run_dir.config().method.finds_tickets and verdict.levels:
        return _gradual_outcome(run_dir)
    words = told(verdict)
    if verdict.smallest is not None:
        words += f"\n{_export_command(run_dir, verdict.smallest.level)}"
    return words


def _export_command(run_dir: RunDir, level: int) -> str:
    return f"Export it: {command('export')} --run={run_dir.path} --level={level}"


def _gradual_outcome(run_dir: RunDir) -> str:
    summaries = [run_dir.summary(stage) for stage in run_dir.finished() if not stage.control]
    smallest = min(summaries, key=lambda summary: summary["density"])
    return (
        f"Smallest network: level {smallest['level']}, {100 * smallest['density']:.2f} % of the "
        f"weights, {_reached(smallest)} at iteration "
        f"{smallest['early_stop_iteration']:,}; the dense network has "
        f"{_reached(summaries[0])}.\n{_export_command(run_dir, smallest['level'])}"
    )


def write_csv(path: pathlib.Path, rows: list[Row]) -> None:
    """Writes rows as a CSV file with a header line."""
    with atomic_path(path) as partial, open(partial, "w", newline="") as file:
        writer = csv.DictWriter(file, fieldnames=list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)


def _reached(summary: dict[str, Any]) -> str:
    metric, _ = judging.judged_by(summary)
    return judging.text(summary["early_stop_test_accuracy"], metric)
