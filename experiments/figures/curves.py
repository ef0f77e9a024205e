"""Accuracy while training."""

import altair as alt

from ..results import Row, judged, measured, nearest_densities
from . import Figure, Numbers, register
from .marks import REMAINING, mean_and_band


@register("curves", order=2)
def curves(numbers: Numbers) -> Figure | None:
    """Draws a panel a series, a curve a size (paper, Figure 3); None without curves."""
    iterations: dict[str, set[int]] = {}
    for row in numbers.curves:
        iterations.setdefault(row["series"], set()).add(row["iteration"])
    rows = [row for row in numbers.curves if len(iterations[row["series"]]) > 1]
    if not rows:
        return None
    chosen = nearest_densities(rows, numbers.densities)
    shown = [row for row in rows if row["remaining"] in chosen]
    metric, unit = measured(rows)
    charts = []
    for series in dict.fromkeys(row["series"] for row in shown):
        of_series = [row for row in shown if row["series"] == series]
        x = alt.X("iteration:Q", title="Iteration", scale=alt.Scale(nice=False, padding=8))
        colour = alt.Color("remaining:O", title=REMAINING, sort="descending")
        title = f"{judged(rows)} {metric}{unit}"
        charts.append(
            mean_and_band(of_series, x, "test_accuracy", title, colour, _zoom(shown)).properties(
                title=series
            )
        )
    return Figure(
        "curves",
        f"{judged(rows)} {metric} while training",
        "Means over trainings, bands from the smallest to the largest (paper, Figure 3).",
        charts,
    )


def _zoom(curves: list[Row]) -> tuple[float, float]:
    """Leaves out the first tenth of training, where every curve is far below the rest."""
    last = max(row["iteration"] for row in curves)
    settled = [row["test_accuracy"] for row in curves if row["iteration"] >= last / 10]
    low, high = min(settled), max(settled)
    margin = 0.03 * (high - low) or 1.0
    return low - margin, high + margin
