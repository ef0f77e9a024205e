"""What the figures of studies are drawn with, beside those of the reports."""

from collections.abc import Sequence
from typing import Any

import altair as alt

from .study import Row, means


def ranked(
    rows: Sequence[Row],
    name: str,
    title: str,
    *,
    colour: str | None = None,
    reference: tuple[str, float] | None = None,
) -> alt.LayerChart | alt.FacetChart:
    """Returns the test error at early stop by name, the smallest first.

    A dot is the mean of the seeds, a line reaches from the smallest to the largest. The axis is
    logarithmic if the largest error is more than three times the smallest.

    Args:
        rows: with "early_stop_accuracy" (percent), `name` and `colour`.
        name: field that says what a line is of.
        title: of the chart.
        colour: field that tells kinds of them apart.
        reference: what a dashed line stands for, and its error in percent.
    """
    errors = [{**row, "error": round(100 - row["early_stop_accuracy"], 2)} for row in rows]
    by = [name] if colour is None else [name, colour]
    points = sorted(means(errors, by, "error"), key=lambda point: point["mean"])
    ratio = max(p["high"] for p in points) / max(min(p["low"] for p in points), 0.01)
    ticks = [0.5, 1, 1.5, 2, 3, 4, 5, 7, 10, 15, 20, 30, 50, 70, 90]
    if ratio > 3:
        scale = alt.Scale(type="log", nice=False, padding=12)
        axis = alt.Axis(values=ticks, format="~g")
    else:
        scale = alt.Scale(zero=False, nice=False, padding=12)
        axis = alt.Axis(format="~g", tickCount=6)
    shape: dict[str, Any] = {
        "y": alt.Y(f"{name}:N", title=None, sort=[p[name] for p in points]),
    }
    if colour is not None:
        shape["color"] = alt.Color(f"{colour}:N", title=None)
    base = alt.Chart(alt.Data(values=points)).encode(**shape)
    layers = [
        base.mark_rule(strokeWidth=2, opacity=0.45).encode(
            alt.X("low:Q", title="Test error at early stop (%)", scale=scale, axis=axis),
            alt.X2("high:Q"),
        ),
        base.mark_circle(size=55, opacity=1).encode(alt.X("mean:Q", scale=scale, axis=axis)),
    ]
    if reference is not None:
        line = alt.Chart(alt.Data(values=[{"error": reference[1]}]))
        layers.insert(
            0,
            line.mark_rule(strokeDash=[5, 4], color="#666").encode(alt.X("error:Q", scale=scale)),
        )
        title = f"{title} (dashed: {reference[0]})"
    return alt.layer(*layers).properties(title=title, height=max(120, 17 * len(points)))


def by_size(
    rows: Sequence[Row], field: str, title: str, colour: str
) -> alt.LayerChart | alt.FacetChart:
    """Returns a field against the weights remaining, a point for each value of `colour` and size.

    Args:
        rows: with "remaining" (percent), the field and `colour`.
        field: what is drawn.
        title: what it is, with its unit.
        colour: field that tells the points apart.
    """
    points = means(rows, [colour, "remaining"], field)
    x = alt.X(
        "remaining:Q",
        title="% of weights remaining",
        scale=alt.Scale(type="log", reverse=True, nice=False, padding=20),
        axis=alt.Axis(values=[100, 50, 30, 20, 10, 5, 3, 2, 1], format="~g"),
    )
    base = alt.Chart(alt.Data(values=points)).encode(x, color=alt.Color(f"{colour}:N", title=None))
    lines = base.mark_rule(strokeWidth=2, opacity=0.45).encode(
        alt.Y("low:Q", title=title), alt.Y2("high:Q")
    )
    joined = base.mark_line(strokeWidth=1, opacity=0.6).encode(alt.Y("mean:Q"))
    return alt.layer(lines, joined, base.mark_circle(size=55, opacity=1).encode(alt.Y("mean:Q")))
