"""Accuracy at a few points of training."""

from ..results import at_iterations, judged, measured
from . import Figure, Numbers, register
from .marks import against_size


@register("iterations", order=3)
def iterations(numbers: Numbers) -> Figure | None:
    """Draws accuracies against sizes (paper, Figures 7 and 8); None without curves."""
    rows = numbers.curves
    if not rows:
        return None
    shown = at_iterations(rows, numbers.iterations)
    metric, unit = measured(rows)
    charts = []
    for iteration in sorted({row["iteration"] for row in shown}):
        of_iteration = [row for row in shown if row["iteration"] == iteration]
        title = f"{judged(rows)} {metric} at iteration {iteration:,}{unit}"
        charts.append(against_size(of_iteration, "test_accuracy", title, "series"))
    return Figure(
        "iterations",
        f"{judged(rows)} {metric} at points of training",
        "Means over trainings, bands from the smallest to the largest (paper, Figures 7 and 8).",
        charts,
    )
