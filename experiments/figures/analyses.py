"""What analyses have found, drawn as they say that it be drawn: no figure has a file here."""

import itertools
from collections.abc import Iterable, Mapping
from typing import Any

import altair as alt

from lth_tf.analysis.base import ALL, Analysis, Panel

from ..results import Row
from . import Chart, Figure
from .marks import REMAINING, dashed_mean, mean_and_band, size_axis

_MOST_LAYERS, _MOST_PANELS = 4, 6


def draw(
    name: str, analysis: Analysis | type[Analysis], rows: list[Row], densities: Iterable[float]
) -> Figure | None:
    """Returns the figure of an analysis; None without rows.

    Of networks with many layers the first, the middle and the last are shown.

    Args:
        name: of the analysis.
        analysis: says which panels there are.
        rows: what it found.
        densities: percentages, among those of the rows, that curves are drawn of.
    """
    charts: list[Chart] = []
    left_out = 0
    for panel in analysis.panels:
        found = list(_charts(panel, rows, set(densities)))
        charts += found[:_MOST_PANELS]
        left_out += len(found[_MOST_PANELS:])
    if not charts:
        return None
    caption = analysis.caption
    if left_out:
        caption += f" {left_out} more panels are left out; analyze writes all numbers."
    return Figure(name, analysis.title, caption, charts)


def _charts(panel: Panel, rows: list[Row], densities: set[float]) -> Iterable[Chart]:
    rows = [row for row in rows if row["remaining"] > 0]
    if panel.colour == "remaining":
        rows = [row for row in rows if row["remaining"] in densities]
    rows = _of_layers(panel, rows)
    rows.sort(key=lambda row: row["layer"] != ALL)
    values = {field: list(dict.fromkeys(row[field] for row in rows)) for field in panel.split}
    for chosen in itertools.product(*values.values()):
        wanted = dict(zip(panel.split, chosen, strict=True))
        part = [row for row in rows if all(row[field] == v for field, v in wanted.items())]
        if any(row[panel.y] == row[panel.y] for row in part):
            words = [_words(f, v) for f, v in wanted.items() if f == "layer" or len(values[f]) > 1]
            title = ": ".join(filter(None, (panel.title, ", ".join(words))))
            yield _chart(panel, part).properties(title=title)


def _chart(panel: Panel, rows: list[Row]) -> Chart:
    if panel.colour == "remaining":
        colour = alt.Color("remaining:O", title=REMAINING, sort="descending")
    else:
        colour = alt.Color(f"{panel.colour}:N", title=None)
    x = _axis(panel, rows)
    chart = mean_and_band(rows, x, panel.y, "", colour, zero=panel.zero)
    if not panel.dashed:
        return chart
    return alt.LayerChart(layer=[dashed_mean(rows, x, panel.dashed, colour), chart])


def _axis(panel: Panel, rows: list[Row]) -> alt.X:
    if panel.x == "remaining":
        return size_axis(rows)
    if panel.x == "layer":
        # Layers in their order, not by name.
        return alt.X(
            "layer:N",
            title=panel.x_title,
            sort=list(dict.fromkeys(_column(rows))),
            axis=alt.Axis(labelExpr="replace(datum.label, '/kernel', '')"),
        )
    return alt.X(f"{panel.x}:Q", title=panel.x_title, scale=alt.Scale(nice=False, padding=8))


def _of_layers(panel: Panel, rows: list[Row]) -> list[Row]:
    """Returns the rows of the layers that are shown."""
    layers = [layer for layer in dict.fromkeys(_column(rows)) if layer != ALL]
    if panel.x == "layer":
        return rows
    if "layer" not in panel.split:
        shown = {ALL}
    elif len(layers) > _MOST_LAYERS:
        shown = {ALL, layers[0], layers[len(layers) // 2], layers[-1]}
    else:
        shown = {ALL, *layers}
    return [row for row in rows if row["layer"] in shown]


def _column(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    return [row["layer"] for row in rows]


def _words(field: str, value: Any) -> str:
    if field == "layer":
        return str(value).removesuffix("/kernel")
    return f"level {value}" if field == "level" else str(value)
