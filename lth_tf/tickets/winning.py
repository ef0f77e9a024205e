"""Which tickets win by the paper's definition; `verdict` says what is beyond chance."""

from typing import Any

from lth_tf.tickets.judging import at_least_as_good, judged_by


def wins(ticket: dict[str, Any], dense: dict[str, Any], tolerance: float = 0.0) -> bool:
    """Returns whether a ticket matches the dense network in at most as many iterations.

    Both are compared at their early-stop iteration, by the metric the dense network was
    judged by: accuracy, or another one in `model.fit`, of which smaller may be better.

    Args:
        ticket: the summary of a ticket's training.
        dense: the summary of the dense network's.
        tolerance: what the ticket may be worse by; of accuracies a fraction. The paper has none.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 1.

    Example:
    >>> dense = {"early_stop_iteration": 900, "early_stop_test_accuracy": 0.97}
    >>> wins({"early_stop_iteration": 700, "early_stop_test_accuracy": 0.98}, dense)
    True
    >>> wins({"early_stop_iteration": 1000, "early_stop_test_accuracy": 0.98}, dense)
    False
    """
    _, mode = judged_by(dense)
    reached, wanted = ticket["early_stop_test_accuracy"], dense["early_stop_test_accuracy"]
    return ticket["early_stop_iteration"] <= dense["early_stop_iteration"] and at_least_as_good(
        reached, wanted, mode, tolerance
    )
