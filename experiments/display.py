"""What a person sees while an experiment runs."""

import sys
import time
from typing import Any

from tqdm import tqdm

from lth_tf.config import ExperimentConfig
from lth_tf.runs.history import Evaluation
from lth_tf.runs.stage import Stage
from lth_tf.tickets.listener import RunListener
from lth_tf.tickets.procedure import stages

COLUMNS = "level  control    % remaining   early stop   accuracy there   final accuracy   seconds"
_ESTIMATE_AFTER = 100  # iterations


def row(summary: dict[str, Any]) -> str:
    """Returns a stage's line of the table."""
    density, seconds = 100 * summary["density"], summary["seconds"]
    early, final = summary["early_stop_test_accuracy"], summary["final_test_accuracy"]
    return (
        f"{summary['level']:>5}  {summary['control']:<9}{density:13.2f}"
        f"{summary['early_stop_iteration']:13,}{100 * early:15.2f} %{100 * final:15.2f} %"
        f"{seconds:10.1f}"
    )


class Display(RunListener):
    """Prints a row a stage on stdout, and a progress bar on stderr if it is a terminal.

    Once the first iterations have shown the speed of the machine, it says how
    long the whole trial will take.

    Args:
        config: gives the iterations of a stage and the number of stages.
        header: what to print of data and device above the table.
    """

    def __init__(self, config: ExperimentConfig, header: str):
        self._title = f"{config.network} on {config.dataset}"
        self._header = header
        self._levels = config.method.levels(config)
        self._iterations = config.iterations
        self._stages_left = len(stages(config))
        self._bar = None
        self._measured_from: tuple[float, int] | None = None
        self._estimated = False

    def run_started(self, weights: int) -> None:
        """Prints what is run, and the head of the table."""
        print(f"{self._title}, {weights:,} weights\n{self._header}\n\n{COLUMNS}", flush=True)

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Opens the stage's progress bar."""
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
        self._measured_from = None

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Moves the bar to the evaluation's iteration."""
        self._bar.set_postfix_str(
            f"validation {evaluation.validation_loss:.4f}, "
            f"{100 * evaluation.validation_accuracy:.2f} %",
            refresh=False,
        )
        self._bar.update(evaluation.iteration - self._bar.n)
        self._estimate(evaluation.iteration)

    def stage_finished(self, stage: Stage, summary: dict[str, Any]) -> None:
        """Closes the bar and prints the stage's row."""
        self.close()
        self._stages_left -= 1
        print(row(summary), flush=True)

    def close(self) -> None:
        """Closes the bar of a stage that did not end."""
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _estimate(self, iteration: int) -> None:
        if self._estimated:
            return
        now = time.monotonic()
        if self._measured_from is None:
            # The first evaluation waited for the compiler.
            self._measured_from = (now, iteration)
            return
        since, first = self._measured_from
        if iteration - first < min(_ESTIMATE_AFTER, self._iterations - first):
            return
        self._estimated = True
        rate = (iteration - first) / (now - since)
        left = self._stages_left * self._iterations - iteration
        tqdm.write(
            f"About {duration(left / rate)} for {self._stages_left} trainings at "
            f"{rate:,.3g} iterations/s, evaluation included.",
            file=sys.stderr,
        )


def duration(seconds: float) -> str:
    """Returns a time in words.

    Example:
    >>> duration(42), duration(1500), duration(40_000), duration(400_000)
    ('42 s', '25 min', '11.1 hours', '4.6 days')
    """
    if seconds < 120:
        return f"{seconds:.0f} s"
    if seconds < 7200:
        return f"{seconds / 60:.0f} min"
    if seconds < 172_800:
        return f"{seconds / 3600:.1f} hours"
    return f"{seconds / 86_400:.1f} days"
