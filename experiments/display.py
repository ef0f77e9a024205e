"""What a person sees while an experiment runs."""

import contextlib
import sys
import threading
import time
from typing import Any

from tqdm import tqdm

from lth_tf.cli.table import Column, Table
from lth_tf.config import ExperimentConfig
from lth_tf.runs.history import Evaluation
from lth_tf.runs.stage import Stage
from lth_tf.tickets.listener import RunListener
from lth_tf.tickets.procedure import stages

COLUMNS = (
    Column("level"),
    Column("control", 13, left=True, drop=1),
    Column("% remaining"),
    Column("early stop"),
    Column("accuracy there", drop=2),
    Column("final accuracy", drop=3),
    Column("seconds", drop=4),
)
_ESTIMATE_AFTER = 100  # iterations


def cells(summary: dict[str, Any]) -> list[str]:
    """Returns a stage's cells of the table."""
    early, final = summary["early_stop_test_accuracy"], summary["final_test_accuracy"]
    return [
        str(summary["level"]),
        summary["control"],
        f"{100 * summary['density']:.2f}",
        f"{summary['early_stop_iteration']:,}",
        f"{100 * early:.2f} %",
        f"{100 * final:.2f} %",
        f"{summary['seconds']:.1f}",
    ]


class Display(RunListener):
    """Prints a row a stage on stdout, and a progress bar on stderr if it is a terminal.

    Once the first iterations have shown the speed of the machine, it says how
    long the whole trial will take.

    Without a terminal it prints a line a minute in place of the bar.

    Args:
        config: gives the iterations of a stage and the number of stages.
        header: what to print of data and device above the table.
        sign_of_life_seconds: time between those lines.

    Attributes:
        trained: whether any stage was trained, and not there already.
    """

    def __init__(self, config: ExperimentConfig, header: str, sign_of_life_seconds: float = 60.0):
        self._title = f"{config.network} on {config.dataset}"
        self._header = header
        self._levels = config.method.levels(config)
        self._iterations = config.iterations
        self._stages_left = len(stages(config))
        self._table = Table(COLUMNS)
        self._bar: tqdm | None = None
        self.trained = False
        self._life = SignsOfLife(sign_of_life_seconds)
        self._measured_from: tuple[float, int] | None = None
        self._started_at = 0
        self._estimated = False

    def run_started(self, weights: int) -> None:
        """Prints what is run, and the head of the table."""
        print(
            f"{self._title}, {weights:,} weights\n{self._header}\n\n{self._table.head()}",
            flush=True,
        )

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Opens the stage's progress bar."""
        self.trained = True
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
        self._started_at = iteration
        if self._bar.disable:
            self._life.start(f"{stage}: iteration {iteration:,} of {self._iterations:,}")

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Moves the bar to the evaluation's iteration."""
        validation = (
            f"validation {evaluation.validation_loss:.4f}, "
            f"{100 * evaluation.validation_accuracy:.2f} %"
        )
        if self._bar is not None:
            self._bar.set_postfix_str(validation, refresh=False)
        self._life.news = (
            f"{stage}: iteration {evaluation.iteration:,} of {self._iterations:,}, {validation}"
        )
        if self._bar is not None:
            self._bar.update(evaluation.iteration - self._bar.n)
        self._estimate(evaluation.iteration)

    def interrupted(self, stage: Stage, iteration: int) -> None:
        """Says what is kept of a run that is told to stop."""
        self.close()
        with contextlib.suppress(OSError):  # of a terminal that is gone
            print(
                f"Kept: {stage} to iteration {iteration:,}, and whatever was done before. "
                "The same command goes on from there.",
                file=sys.stderr,
            )

    def stage_finished(self, stage: Stage, summary: dict[str, Any]) -> None:
        """Closes the bar and prints the stage's row."""
        self.close()
        self._stages_left -= 1
        print(self._table.row(cells(summary)), flush=True)

    def close(self) -> None:
        """Closes the bar of a stage that did not end."""
        self._life.stop()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _estimate(self, iteration: int) -> None:
        if self._estimated:
            return
        now = time.monotonic()
        if self._measured_from is None:
            # The first evaluation and the first interval waited for the compiler.
            if iteration > self._started_at:
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


class SignsOfLife:
    """Prints the last news on stderr at intervals, also while nothing new happens.

    Args:
        seconds: between two lines.

    Attributes:
        news: what to print.
    """

    def __init__(self, seconds: float):
        self.news = ""
        self._seconds = seconds
        self._ended: threading.Event | None = None

    def start(self, news: str) -> None:
        """Begins to print."""
        self.stop()
        self.news, self._ended = news, threading.Event()
        threading.Thread(target=self._print, args=(self._ended,), daemon=True).start()

    def stop(self) -> None:
        """Prints no more."""
        if self._ended is not None:
            self._ended.set()
            self._ended = None

    def _print(self, ended: threading.Event) -> None:
        while not ended.wait(self._seconds):
            with contextlib.suppress(OSError):  # of a reader that is gone
                print(f"{time.strftime('%H:%M:%S')} {self.news}", file=sys.stderr, flush=True)


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
