"""Whether a dense network has learned: else tickets have nothing to be compared with."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from lth_tf.runs.history import Correct
from lth_tf.tickets import judging
from lth_tf.tickets.comparing import sampling_error

# Of what a part of it learns of the same examples, beyond chance.
_LEAST_SHARE = 0.5


@dataclasses.dataclass(frozen=True)
class Training:
    """One finished training, as far as verdicts need it.

    Attributes:
        summary: its numbers, see `RunDir.summary`.
        first_iteration: that of its first evaluation.
        validation: the metric on the validation data at every evaluation.
        correct: which labels it predicts, or None.
    """

    summary: dict[str, Any]
    first_iteration: int
    validation: Sequence[float]
    correct: Correct | None = None

    @property
    def edge(self) -> str:
        """Which evaluation it stopped early at if that is the "first" or "last", else ""."""
        at = self.summary["early_stop_iteration"]
        if at >= self.summary["iterations"]:
            return "last"
        return "first" if at <= self.first_iteration else ""


def why_not_learned(
    dense: Training, labels: int | None, classes: int | None, best_ticket: float
) -> str:
    """Returns why a dense network is nothing to compare with; "" if it is something.

    It is at chance; its validation loss or its validation metric was best before training;
    or it learned less than half of what one of its own tickets learns, as with an
    unstable learning rate.

    Args:
        dense: its training.
        labels: number of labels it was judged by, None if unknown.
        classes: number of classes, None if unknown.
        best_ticket: the largest training accuracy of a ticket at its end; NaN if none is trained.
    """
    summary, (metric, mode) = dense.summary, judging.judged_by(dense.summary)
    untrained = dense.first_iteration == 0
    if untrained and summary["early_stop_iteration"] == 0:
        return "the dense network's validation loss was never below that before training"
    start, end = dense.validation[0], dense.validation[-1]
    if untrained and not (end > start if mode == "max" else end < start):
        return (
            "the dense network's training ended where it began: "
            f"{judging.text(end, metric)} on the validation data, {judging.text(start, metric)} "
            "before"
        )
    if not judging.is_accuracy(metric):
        return ""
    chance = dense.correct.chance if dense.correct else 1 / classes if classes else None
    if chance is None:
        return ""
    reached = summary["early_stop_test_accuracy"]
    number = dense.correct.early_stop.size if dense.correct else labels
    if reached <= chance + (sampling_error(chance, number) if number else 0.0):
        return (
            f"the dense network is at chance: {judging.text(reached, metric)}, and one answer for "
            f"all examples has {judging.text(chance, metric)}"
        )
    own = summary["final_train_accuracy"]
    if not math.isnan(best_ticket) and own - chance < _LEAST_SHARE * (best_ticket - chance):
        return (
            f"the dense network learned {judging.text(own, metric)} of its training examples, "
            f"a ticket {judging.text(best_ticket, metric)}: try a smaller learning rate"
        )
    return ""
