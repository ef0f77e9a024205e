"""Accuracy while training."""

import altair as alt

from ..results import Row, measured, nearest_densities
from . import Figure, Numbers, register
from .marks import LEGEND, REMAINING, mean_and_band


@register("curves", order=2)
def curves(numbers: Numbers) -> Figure | None:
    """Draws a panel a series, a curve a size (paper, Figure 3); None without curves."""
    rows = numbers.curves
    if not rows:
        return None
    chosen = nearest_densities(rows, numbers.densities)
    shown = [row for row in rows if row["remaining"] in chosen]
    metric, unit = measured(rows)
    charts = []
    for series in sorted({row["series"] for row in shown}):
        of_series = [row for row in shown if row["series"] == series]
        x = alt.X("iteration:Q", title="Iteration")
        colour = alt.Color(
            "remaining:O",
            title=REMAINING,
            sort="descending",
            scale=alt.Scale(scheme="viridis"),
            legend=LEGEND,
        )
        charts.append(
            mean_and_band(
                of_series, x, "test_accuracy", f"Test {metric}{unit}", colour, _zoom(shown)
            ).properties(title=series)
        )
    return Figure(
        "curves",
        f"Test {metric} while training",
        "Means over trials with bands from the smallest to the largest (paper, Figure 3).",
        charts,
    )


def _zoom(curves: list[Row]) -> alt.Scale:
    """Leaves out the first tenth of training, where every curve is far below the rest."""
    last = max(row["iteration"] for row in curves)
    settled = [row["test_accuracy"] for row in curves if row["iteration"] >= last / 10]
    return alt.Scale(domain=(min(settled), max(settled)), nice=True)
