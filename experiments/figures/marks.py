"""What charts are drawn with: means over replicates, with bands, and tooltips on the nearest."""

import math
import statistics
from typing import Any

import altair as alt

from ..results import Row
from . import Chart

REMAINING = "% of weights remaining"


def against_size(rows: list[Row], field: str, title: str, colour: str) -> Chart:
    """Returns a field against the weights remaining, a curve for each value of `colour`.

    A dashed line is the mean of a series' dense network.

    Args:
        rows: with "remaining" and the two fields.
        field: what is drawn; None and NaN are left out.
        title: what it is, with its unit.
        colour: field that tells the curves apart.
    """
    rows = [row for row in rows if row["remaining"] > 0]
    x = size_axis(rows)
    chart = mean_and_band(rows, x, field, "", alt.Color(f"{colour}:N", title=None))
    references = _dense(rows, field, colour)
    if references:
        dense = alt.Chart(alt.Data(values=references))
        rule = dense.mark_rule(strokeDash=[5, 4], strokeWidth=1.2, opacity=0.8)
        chart = alt.layer(rule.encode(alt.Y("mean:Q"), alt.Color(f"{colour}:N")), chart)
    return chart.properties(title=title)


def size_axis(rows: list[Row]) -> alt.X:
    """Returns the horizontal axis of densities: logarithmic, from dense to sparse.

    Args:
        rows: with "remaining", above 0.
    """
    return alt.X(
        "remaining:Q",
        title=REMAINING,
        scale=alt.Scale(type="log", reverse=True, nice=False, padding=12),
        axis=alt.Axis(values=_ticks([row["remaining"] for row in rows]), format=".4~r"),
    )


def dashed_mean(rows: list[Row], x: alt.X, field: str, colour: alt.Color) -> alt.Chart:
    """Returns the mean of a field as a dashed line, e.g. of what is to be expected by chance.

    Args:
        rows: with the fields of `x`, `colour` and `field`.
        x: the horizontal axis.
        field: what is drawn; None and NaN are left out.
        colour: what tells the curves apart.
    """
    kinds = [channel.shorthand.rpartition(":")[0] for channel in (x, colour)]
    points = alt.Chart(alt.Data(values=_points(rows, field, *kinds)))
    return points.mark_line(strokeDash=[5, 4], strokeWidth=1.4).encode(x, alt.Y("mean:Q"), colour)


def mean_and_band(
    rows: list[Row],
    x: alt.X,
    field: str,
    title: str,
    colour: alt.Color,
    domain: tuple[float, float] | None = None,
    zero: bool = False,
) -> Chart:
    """Returns the mean of a field as a line, and from its smallest to its largest as a band.

    Args:
        rows: with the fields of `x`, `colour` and `field`.
        x: the horizontal axis.
        field: what is drawn; None and NaN are left out.
        title: of the vertical axis.
        colour: what tells the curves apart.
        domain: ends of the vertical axis; by default all values.
        zero: whether it begins at 0.
    """
    kinds = [channel.shorthand.rpartition(":")[0] for channel in (x, colour)]
    points = _points(rows, field, *kinds)
    # Of all layers: what each has of its own is copied and checked many times.
    data = alt.Data(values=points)
    inside: Any = alt.Undefined
    scale = alt.Scale(zero=zero, padding=0 if zero else 10, nice=domain is None)
    if domain is not None:
        scale.domain = list(domain)
        inside = alt.Data(values=[p for p in points if domain[0] <= p["mean"] <= domain[1]])
    y = alt.Y("mean:Q", title=title or None, scale=scale)
    base = alt.Chart().encode(x=x, color=colour)
    band = base.mark_area(opacity=0.16, clip=domain is not None).encode(
        alt.Y("low:Q", title=title or None, scale=scale), alt.Y2("high:Q")
    )
    line = base.mark_line(strokeWidth=1.8, clip=domain is not None).encode(y)
    dots = alt.Chart(inside).encode(x, y, colour)
    nearest = _nearest(dots, x, colour, field, rows)
    return alt.layer(band, line, dots.mark_circle(size=26, opacity=1), nearest, data=data)


def _nearest(
    dots: alt.Chart, x: alt.X, colour: alt.Color, field: str, rows: list[Row]
) -> alt.Chart:
    """Returns the points again, the one nearest to the pointer seen and told."""
    hover = alt.selection_point(nearest=True, on="pointermove", clear="pointerout", empty=False)
    form = _form(field, rows)
    numbers = [
        alt.Tooltip(f"{name}:Q", title=name, format=form) for name in ("mean", "best", "worst")
    ]
    places = []
    for channel in (colour, x):
        name = channel.shorthand.rpartition(":")[0]
        if name == "remaining":
            places.append(alt.Tooltip("remaining:Q", title="% remaining", format=".4~r"))
        else:
            places.append(alt.Tooltip(channel.shorthand, title=name))
    return (
        dots.mark_circle(size=110)
        .encode(
            opacity=alt.condition(hover, alt.value(1), alt.value(0)),
            tooltip=[*places, *numbers, alt.Tooltip("trainings:Q")],
        )
        .add_params(hover)
    )


def _points(rows: list[Row], field: str, x: str, colour: str) -> list[dict[str, Any]]:
    """Returns a point for every place on every curve."""
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if row[field] is not None and row[field] == row[field]:
            groups.setdefault((row[colour], row[x]), []).append(row)
    points = []
    for (name, place), found in sorted(
        groups.items(), key=lambda item: (str(item[0][0]), item[0][1])
    ):
        values = [row[field] for row in found]
        low, high = min(values), max(values)
        fewer = _fewer_is_better(field, found)
        points.append(
            {
                **({"series": found[0]["series"]} if "series" in found[0] else {}),
                colour: name,
                x: place,
                "mean": statistics.fmean(values),
                "low": low,
                "high": high,
                "best": low if fewer else high,
                "worst": high if fewer else low,
                "trainings": len(values),
            }
        )
    return points


def _dense(rows: list[Row], field: str, colour: str) -> list[dict[str, Any]]:
    """Returns the mean of the dense networks of every curve of tickets."""
    groups: dict[Any, list[float]] = {}
    for row in rows:
        value = row[field]
        if row.get("level") == 0 and row.get("control") == "" and value is not None:
            groups.setdefault((row["series"], row[colour]), []).append(value)
    return [
        {"series": series, colour: name, "mean": statistics.fmean(values)}
        for (series, name), values in groups.items()
    ]


def _fewer_is_better(field: str, rows: list[Row]) -> bool:
    if "accuracy" in field:
        return all(row.get("mode") == "min" for row in rows)
    return True  # iterations, seconds, bytes


def _form(field: str, rows: list[Row]) -> str:
    if field.endswith(("iteration", "iterations")):
        return ",.0f"
    percent = all(str(row.get("metric", "")).endswith(("accuracy", "acc")) for row in rows)
    return ".2f" if "accuracy" in field and percent else ",.4~g"


def _ticks(percentages: list[float]) -> list[float]:
    """Returns where a logarithmic axis of densities is marked.

    Example:
    >>> _ticks([100.0, 64.0, 41.0]), _ticks([100.0, 1.2])
    ([100, 80, 65, 50], [100.0, 50.0, 20.0, 10.0, 5.0, 2.0])
    """
    smallest = min(percentages, default=100)
    if smallest >= 25:
        return [tick for tick in (100, 80, 65, 50, 40, 30) if tick >= smallest]
    decades = range(2, math.floor(math.log10(smallest)) - 1, -1)
    far = len(decades) > 4
    ticks = [
        float(f"{digit}e{decade}") for decade in decades for digit in ((1,) if far else (5, 2, 1))
    ]
    return [tick for tick in ticks if smallest <= tick <= 100]
