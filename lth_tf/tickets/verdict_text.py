"""Verdicts in words, for terminals, pages and errors."""

from lth_tf.tickets import judging
from lth_tf.tickets.comparing import Comparison
from lth_tf.tickets.verdict import LevelVerdict, Verdict

_EDGES = {
    "last": "stopped early at the last evaluation: still learning, more iterations would tell",
    "first": "stopped early at the first evaluation: evaluate more often, or learn more slowly",
}


def told(verdict: Verdict, what: str = "winning ticket") -> str:
    """Returns what a run came to, in a few lines.

    Args:
        verdict: what was found.
        what: what its levels are.
    """
    if verdict.nothing:
        return f"Nothing to compare with: {verdict.nothing}."
    if not verdict.levels:
        return "Only the dense network is trained so far."
    found, dense = verdict.smallest, _reached(verdict)
    if found is None:
        lines = [
            f"No {what}: no level is as good as the dense network, {dense}, within "
            f"{_tolerance(verdict)} and as fast."
        ]
    else:
        lines = [
            f"Smallest {what}: level {found.level}, {100 * found.density:.2f} % of the "
            f"weights: {_value(found.value, found.early_stop_iteration, verdict.metric)}; "
            f"the dense network has {dense}.",
            f"{comparison_told(found.comparison, verdict.metric)}.",
        ]
    return "\n".join([*lines, *_paper(verdict), *_edges(verdict)])


def comparison_told(comparison: Comparison, metric: str) -> str:
    """Returns a comparison in words.

    Example:
    >>> comparison_told(Comparison(0.004, 0.006, "paired", 10_000), "accuracy")
    'As good: +0.40 points, sampling error 0.60 points (10,000 labels, one by one; one seed)'
    """
    word = comparison.word.capitalize()
    difference = amount(comparison.difference, metric, signed=True)
    if comparison.seeds > 1:
        smallest, largest = (
            amount(value, metric, signed=True)
            for value in (comparison.smallest, comparison.largest)
        )
        difference += f" (mean of {comparison.seeds} seeds, from {smallest} to {largest})"
    return f"{word}: {difference}, {error_told(comparison, metric)}"


def error_told(comparison: Comparison, metric: str) -> str:
    """Returns what a difference may be due to, in words."""
    if comparison.error is None:
        return "sampling error unknown"
    if comparison.basis == "given":
        return f"tolerance {amount(comparison.error, metric)}"
    how = {"paired": ", one by one", "unpaired": ", two accuracies"}.get(comparison.basis, "")
    labels = f"{comparison.labels:,} labels{how}" if comparison.labels else "of several test sets"
    seeds = "; one seed" if comparison.seeds == 1 else ""
    return f"sampling error {amount(comparison.error, metric)} ({labels}{seeds})"


def amount(difference: float, metric: str, signed: bool = False) -> str:
    """Returns a difference in the metric's unit: of accuracies in points.

    Example:
    >>> amount(0.0123, "accuracy", signed=True), amount(0.0123, "mae")
    ('+1.23 points', '0.0123')
    """
    sign = "+" if signed else ""
    if judging.is_accuracy(metric):
        return f"{100 * difference:{sign}.2f} points"
    return f"{difference:{sign}.4g}"


def edge_told(edge: str) -> str:
    """Returns what an early stop at the first or last evaluation means; "" for neither."""
    return _EDGES.get(edge, "")


def _value(value: float, iteration: float, metric: str) -> str:
    return f"{judging.text(value, metric)} at iteration {iteration:,.0f}"


def _reached(verdict: Verdict) -> str:
    return _value(verdict.dense_value, verdict.dense_iteration, verdict.metric)


def _tolerance(verdict: Verdict) -> str:
    first = verdict.levels[0].comparison
    return error_told(first, verdict.metric) if first.basis == "given" else "the sampling error"


def _paper(verdict: Verdict) -> list[str]:
    """Returns what the paper's definition says, if it says something else."""
    found, exact = verdict.smallest, verdict.smallest_in_paper
    if found == exact:
        return []
    other = "none" if exact is None else _level(exact)
    return [f"By the paper's definition, without a tolerance: {other}."]


def _level(level: LevelVerdict) -> str:
    return f"level {level.level}, {100 * level.density:.2f} %"


def _edges(verdict: Verdict) -> list[str]:
    found = verdict.smallest
    lines = []
    if verdict.dense_edge:
        lines.append(f"The dense network {edge_told(verdict.dense_edge)}.")
    if found is not None and found.edge:
        lines.append(f"The smallest one {edge_told(found.edge)}.")
    return lines
