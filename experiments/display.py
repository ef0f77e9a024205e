"""What a person sees while an experiment runs."""

import sys
from typing import Any

from tqdm import tqdm

from lth_tf.lottery import Watcher
from lth_tf.records import RunDir, Stage
from lth_tf.training import Evaluation
from lth_tf.winning import smallest_winning

COLUMNS = "level   % remaining   early stop   accuracy there   final accuracy   seconds"


def row(summary: dict[str, Any]) -> str:
    """Returns a stage's line of the table."""
    name = summary["control"] or summary["level"]
    return (
        f"{name:>5}{100 * summary['density']:14.2f}{summary['early_stop_iteration']:13,}"
        f"{100 * summary['early_stop_test_accuracy']:15.2f} %"
        f"{100 * summary['final_test_accuracy']:15.2f} %{summary['seconds']:10.1f}"
    )


def outcome(run_dir: RunDir) -> str:
    """Returns the smallest winning ticket of a run and the command that exports it."""
    summaries = [run_dir.summary(stage) for stage in run_dir.finished() if not stage.control]
    best = smallest_winning(summaries)
    dense = summaries[0]
    if best is None:
        return (
            "No winning ticket: no level reaches the dense network's "
            f"{100 * dense['early_stop_test_accuracy']:.2f} % by its early stop at iteration "
            f"{dense['early_stop_iteration']:,}."
        )
    return (
        f"Smallest winning ticket: level {best['level']}, {100 * best['density']:.2f} % of the "
        f"weights. {100 * best['early_stop_test_accuracy']:.2f} % at iteration "
        f"{best['early_stop_iteration']:,}; the dense network has "
        f"{100 * dense['early_stop_test_accuracy']:.2f} % at {dense['early_stop_iteration']:,}.\n"
        f"Export it: python -m export --run={run_dir.path} --level={best['level']}"
    )


class Display(Watcher):
    """Prints a row a level on stdout, and a progress bar on stderr if it is a terminal.

    Args:
        iterations: iterations of a level.
        levels: the last level.
    """

    def __init__(self, iterations: int, levels: int):
        self._iterations = iterations
        self._levels = levels
        self._bar = None

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Opens the level's progress bar."""
        name = f"level {stage.level}/{self._levels} {stage.control}".strip()
        self._bar = tqdm(
            desc=f"{name} ({100 * density:.1f} %)",
            total=self._iterations,
            initial=iteration,
            unit="it",
            leave=False,
            disable=None,
            dynamic_ncols=True,
            file=sys.stderr,
        )

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Moves the bar to the evaluation's iteration."""
        self._bar.set_postfix_str(
            f"validation {evaluation.validation_loss:.4f}, "
            f"{100 * evaluation.validation_accuracy:.2f} %",
            refresh=False,
        )
        self._bar.update(evaluation.iteration - self._bar.n)

    def stage_finished(self, stage: Stage, summary: dict[str, Any]) -> None:
        """Closes the bar and prints the level's row."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None
        print(row(summary), flush=True)

    def close(self) -> None:
        """Closes the bar of a level that did not end."""
        if self._bar is not None:
            self._bar.close()
