"""What a person sees of a search."""

import sys
import time
from typing import Any

from tqdm import tqdm

from lth_tf.cli.program import command
from lth_tf.cli.table import Column, Table
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.runs.history import Evaluation
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.verdict import judge_level, judge_runs
from lth_tf.tickets.verdict_text import comparison_told, told
from lth_tf.tuning import ACCURACY, Project, Result, TicketTuner, TuningListener, address

from .display import duration
from .results import write_csv


class TuneDisplay(TuningListener):
    """Prints a row a trial on stdout, and a progress bar on stderr if it is a terminal.

    Args:
        config: what the search goes out from.
        max_trials: number of trials.
    """

    def __init__(self, config: ExperimentConfig, max_trials: int):
        self._config = config
        self._max_trials = max_trials
        self._names: list[str] = []
        self._bar: tqdm | None = None
        self._iterations = 0
        self._alone = True
        self._started: tuple[float, int] | None = None

    def header(self, data: Data, device: str, tolerance: float, tuner: TicketTuner) -> None:
        """Prints what is searched, and where the results go."""
        config, space = self._config, tuner.space.space
        self._names = [entry.name for entry in space]
        print(
            f"{config.network} on {config.dataset}, {tuner.weights:,} weights\n"
            f"{len(data.train):,} training and {len(data.validation):,} validation images\n"
            f"Looking for the smallest network at most {tolerance:g} points of validation "
            f"accuracy below the dense one\n"
            f"{self._max_trials} trials of levels 0 to {config.levels} of {config.iterations:,} "
            f"iterations, seed {config.seed}, on {device}"
        )
        for entry in space:
            print(f"  {entry.name:<19}{entry.min_value:g} to {entry.max_value:g}")
        print(f"Results in {tuner.project.path}", flush=True)
        self._alone = tuner.role == "single"
        if tuner.role == "worker":
            print(f"This is {tuner.tuner_id}, a worker of the chief at {address()}.", flush=True)
        elif tuner.role == "chief":
            print(
                f"This is the chief, at {address()}. Start the workers with the same command.\n\n"
                f"{table_of(self._names).head()}",
                flush=True,
            )

    def waiting(self, what: str, process: str) -> None:
        """Says whom this process waits for."""
        print(f"Waiting for process {process}, which trains {what}.", flush=True)

    def training_started(self, trial: int | None, config: ExperimentConfig) -> None:
        """Opens a progress bar."""
        self.close()
        self._started = self._started or (time.monotonic(), trial or 0)
        what = "dense network" if trial is None else f"trial {trial} of {self._max_trials}"
        self._bar = tqdm(
            desc=what,
            total=(config.levels + 1) * config.iterations,
            unit="it",
            leave=False,
            disable=None,
            dynamic_ncols=True,
            file=sys.stderr,
        )
        self._iterations = config.iterations

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Moves the bar to the evaluation's iteration."""
        if self._bar is None:
            return
        self._bar.set_postfix_str(
            f"level {stage.level}, validation {100 * evaluation.validation_accuracy:.2f} %",
            refresh=False,
        )
        at = stage.level * self._iterations + evaluation.iteration
        self._bar.update(at - self._bar.n)

    def reference_known(self, summary: dict[str, Any]) -> None:
        """Prints what the trials are compared with, and the head of their table."""
        self.close()
        self._started = None
        print(f"{_reference(summary)}\n\n{table_of(self._names).head()}", flush=True)

    def trial_finished(self, result: Result) -> None:
        """Closes the bar and prints the trial's row."""
        self.close()
        print(table_of(self._names).row(cells(result)), flush=True)
        self._estimate(result.trial)

    def close(self) -> None:
        """Closes the bar of a training that did not end."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _estimate(self, trial: int) -> None:
        """Says after the first trial of this process how long the others will take."""
        left = self._max_trials - trial - 1
        if not self._alone or self._started is None or self._started[1] != trial or not left:
            return
        seconds = time.monotonic() - self._started[0]
        tqdm.write(
            f"About {duration(left * seconds)} for {left} more trial{'s' if left > 1 else ''}.",
            file=sys.stderr,
        )


def table_of(names: list[str]) -> Table:
    """Returns the table of trials.

    Args:
        names: what is searched.
    """
    searched = [Column(_SHORT.get(name, name), 9, drop=i) for i, name in enumerate(names, 1)]
    return Table(
        [
            Column("trial"),
            *searched,
            Column("level", drop=len(names) + 1),
            Column("% left", 6),
            Column("validation"),
            Column("objective", drop=len(names) + 2),
            Column("seconds", drop=len(names) + 3),
        ]
    )


def cells(result: Result) -> list[str]:
    """Returns a trial's cells of the table."""
    outcome = result.outcome
    level = "-" if outcome.level is None else str(outcome.level)
    remaining = f"{100 * outcome.density:.2f}" if outcome.accurate and outcome.density else "-"
    accuracy = "diverged" if outcome.accuracy is None else f"{100 * outcome.accuracy:.2f} %"
    return [
        str(result.trial),
        *map(_number, result.values.values()),
        level,
        remaining,
        accuracy,
        f"{outcome.objective:.4f}",
        f"{result.seconds:.1f}",
    ]


def summary(results: list[Result], dense: dict[str, Any], project: Project) -> str:
    """Writes the results as CSV and returns the table, the best, and what to do next."""
    if not results:
        return "No trial is finished."
    rows = [_record(result, dense) for result in results]
    file = project.path / "trials.csv"
    write_csv(file, rows)
    table = table_of(list(results[0].values))
    trials = [table.row(cells(result)) for result in results]
    lines = ["", "By objective:", table.head(), *trials, _reference(dense), ""]
    lines += _best(results[0], project)
    lines += [
        f"Table:     {file}",
        f"Figures:   {command('report')} {project.path}",
    ]
    return "\n".join(lines)


def _best(best: Result, project: Project) -> list[str]:
    outcome = best.outcome
    dense = judge_runs([project.dense])
    if dense.nothing:
        return [told(dense)]
    if not outcome.accurate or outcome.density is None:
        return [
            "No trial has a level within the tolerance. Try a larger --tolerance, more "
            "--max_trials, or more --iterations."
        ]
    found = (
        f"Smallest network: trial {best.trial}, level {outcome.level}, "
        f"{100 * outcome.density:.2f} % of the weights."
    )
    if not outcome.level:
        return [found + " That is the dense one: no ticket is within the tolerance."]
    verdict = judge_level(project.dense, RunDir(best.path), outcome.level)
    (level,) = verdict.levels
    return [
        f"{found} Its test accuracy, looked at only now: {100 * level.value:.2f} %; "
        f"the dense network has {100 * verdict.dense_value:.2f} %.",
        f"{comparison_told(level.comparison, verdict.metric)}.",
        f"Export it: {command('export')} --run={best.path} --level={outcome.level}",
    ]


def _record(result: Result, dense: dict[str, Any]) -> dict[str, Any]:
    outcome = result.outcome
    return {
        "trial": result.trial,
        **result.values,
        "objective": round(outcome.objective, 6),
        "level": outcome.level,
        "remaining": None if outcome.density is None else round(100 * outcome.density, 2),
        "accurate": outcome.accurate,
        "validation_accuracy": _percent(outcome.accuracy),
        "dense_validation_accuracy": _percent(dense[ACCURACY]),
        "levels": result.levels,
        "seconds": round(result.seconds, 3),
        "run": str(result.path),
    }


def _reference(summary: dict[str, Any]) -> str:
    return (
        f"Dense network: validation accuracy {100 * summary[ACCURACY]:.2f} % at its early stop, "
        f"iteration {summary['early_stop_iteration']:,}."
    )


_SHORT = {
    "prune_rate_conv": "conv rate",
    "prune_rate_fc": "fc rate",
    "prune_rate_output": "output rate",
    "learning_rate": "learning rate",
    "warmup_iterations": "warm-up",
    "rewind_iteration": "rewind",
}


def _number(value: Any) -> str:
    return f"{value:,}" if isinstance(value, int) else f"{value:g}"


def _percent(fraction: float | None) -> float | None:
    return None if fraction is None else round(100 * fraction, 3)
