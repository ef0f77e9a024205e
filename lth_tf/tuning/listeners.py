"""What happens in a search, for those who want to know."""

from typing import Any

from lth_tf.config import ExperimentConfig
from lth_tf.runs.stage import Stage
from lth_tf.tickets.listener import RunListener
from lth_tf.tuning.objective import Result, out_of_patience


class TuningListener(RunListener):
    """Is told what happens during a search; this one does nothing."""

    def waiting(self, what: str, process: str) -> None:
        """Called before waiting for another process that trains the same."""

    def training_started(self, trial: int | None, config: ExperimentConfig) -> None:
        """Called before a trial; `trial` is None for the dense network of the search."""

    def reference_known(self, summary: dict[str, Any]) -> None:
        """Called with the summary of the dense network, trained now or before."""

    def trial_finished(self, result: Result) -> None:
        """Called after a trial; in the chief after every worker's trials."""


class EnoughLevels(Exception):
    """Ends a trial that is out of patience."""


class Patience(RunListener):
    """Ends a trial after too many levels in a row that pruning has harmed.

    Args:
        reference, tolerance, patience: see `out_of_patience`.
    """

    def __init__(self, reference: float, tolerance: float, patience: int):
        self._arguments = (reference, tolerance, patience)
        self._summaries: list[dict[str, Any]] = []

    def stage_finished(self, stage: Stage, summary: dict[str, Any]) -> None:
        """Counts the level.

        Raises:
            EnoughLevels: if the trial shall end.
        """
        self._summaries.append(summary)
        if out_of_patience(self._summaries, *self._arguments):
            raise EnoughLevels
