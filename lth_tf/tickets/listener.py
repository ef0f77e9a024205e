"""What programs hear of a run while it goes on."""

from typing import Any

from lth_tf.runs.history import Evaluation
from lth_tf.runs.stage import Stage


class RunListener:
    """Hooks of a run, all no-ops; a subclass overrides those it needs."""

    def run_started(self, weights: int) -> None:
        """Called once the network is built, with the number of its prunable weights."""

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Called before a stage trains on from `iteration`."""

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Called after every evaluation."""

    def interrupted(self, stage: Stage, iteration: int) -> None:
        """Called when a signal stops the run, once the stage is kept up to `iteration`."""

    def stage_finished(self, stage: Stage, summary: dict[str, Any]) -> None:
        """Called when a stage is on the disk, also for one that was already there."""
