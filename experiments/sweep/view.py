"""What a person sees while a sweep goes on: one table of all runs, and how far it is."""

import sys
from collections.abc import Sequence
from typing import Any

from tqdm import tqdm

from lth_tf.cli.table import Column, Table
from lth_tf.runs.stage import Stage

from .. import display


class View:
    """Prints a row a stage on stdout; on stderr a progress bar, or a line a minute.

    Args:
        labels: what the runs are called.
    """

    def __init__(self, labels: Sequence[str]):
        width = max(map(len, labels), default=0)
        self._table = Table([Column("run", width, left=True), *display.COLUMNS])
        self._bar: tqdm | None = None
        self._life = display.SignsOfLife(60.0)
        self._headed = False
        self._known = self._done = 0

    def open(self) -> None:
        """Begins to show how far it is."""
        self._bar = tqdm(
            desc="trainings", total=0, unit="", leave=False, disable=None, dynamic_ncols=True
        )
        if self._bar.disable:
            self._life.start("nothing is trained yet")

    def planned(self, trainings: int, notes: str) -> None:
        """Hears of the trainings of one more run."""
        self._known += trainings
        if notes:
            self._print(notes.rstrip("\n"))

    def finished(self, label: str, stage: Stage, summary: dict[str, Any] | None) -> None:
        """Prints a stage's row; the training up to the rewind iteration has none."""
        self._done += 1
        if summary is None:
            return
        if not self._headed:
            self._headed = True
            self._print(self._table.head())
        self._print(self._table.row([label, *display.cells(summary)]))

    def told(self, line: str) -> None:
        """Prints a line on stderr, e.g. of a training that is tried again."""
        self._print(line, sys.stderr)

    def running(self, trainings: Sequence[str]) -> None:
        """Shows what is trained, and how far it is."""
        now = "; ".join(trainings)
        self._life.news = f"{self._done} of {self._known} trainings are done. {now}"
        if self._bar is not None:
            self._bar.total, self._bar.n = self._known, self._done
            self._bar.set_postfix_str(now, refresh=True)

    def close(self) -> None:
        """Shows nothing more."""
        self._life.stop()
        if self._bar is not None:
            self._bar.close()
            self._bar = None

    def _print(self, line: str, file: Any = None) -> None:
        # Above the bar, which a plain print would cut in two.
        with tqdm.external_write_mode(file=file or sys.stdout):
            print(line, file=file or sys.stdout, flush=True)
