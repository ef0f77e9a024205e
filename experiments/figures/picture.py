"""A figure as a PNG file."""

import textwrap
from typing import Any

import vl_convert

from . import Figure
from .colours import coloured

_WIDTH, _HEIGHT = 400, 260
_LINE, _TITLE = 130, 60  # characters


def png(figure: Figure, pixels: float = 2) -> bytes:
    """Returns a figure as a picture: its title, the charts two in a row, one legend.

    Args:
        figure: what to draw; a chart that has a height of its own keeps it.
        pixels: a point, in each direction.
    """
    # The page has them checked; here that would take as long again.
    charts = [
        _static(coloured(chart.to_dict(validate=False), figure.colours)) for chart in figure.charts
    ]
    for chart in charts:
        if isinstance(chart.get("title"), str):
            chart["title"] = textwrap.wrap(chart["title"], _TITLE)
        chart.pop("$schema", None), chart.pop("config", None)
        chart |= {"width": _WIDTH, "height": chart.get("height", _HEIGHT)}
    fields: dict[str | None, list[dict[str, Any]]] = {}
    for part in _encodings(charts):
        colour = part.get("color", {})
        fields.setdefault(colour.get("field"), []).append(colour)
    for field, encoded in fields.items():
        _one_legend(encoded, _shown(charts, field))
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v6.json",
        "title": {
            "text": figure.title,
            "subtitle": [figure.subject, *textwrap.wrap(figure.caption, _LINE)],
            "anchor": "start",
            "fontSize": 16,
            "subtitleFontSize": 12,
            "subtitleColor": "#555",
            "offset": 14,
        },
        "concat": charts,
        "columns": 2,
        "resolve": {"scale": {"color": "shared"}},
        "background": "white",
        "padding": 12,
        "config": {"title": {"anchor": "start", "frame": "group"}},
    }
    return vl_convert.vegalite_to_png(spec, scale=pixels)


def _static(spec: dict[str, Any]) -> dict[str, Any]:
    """Returns a chart without what answers to the pointer."""
    kept = {name: part for name, part in spec.items() if name != "params"}
    if "layer" in kept:
        kept["layer"] = [_static(layer) for layer in kept["layer"] if not _answers(layer)]
    return kept


def _answers(layer: dict[str, Any]) -> bool:
    """Returns whether how a layer looks depends on where the pointer is."""
    return any(
        "param" in channel.get("condition", ())
        for channel in layer.get("encoding", {}).values()
        if isinstance(channel, dict)
    )


def _encodings(charts: list[dict[str, Any]]) -> list[dict[str, Any]]:
    found = []
    for chart in charts:
        found += [chart["encoding"]] if "encoding" in chart else []
        found += _encodings(chart.get("layer", []))
    return found


def _shown(charts: list[dict[str, Any]], field: str | None) -> set:
    values = set()
    for chart in charts:
        for rows in [chart.get("data", {}).get("values", [])]:
            values |= {row[field] for row in rows if field in row}
        values |= _shown(chart.get("layer", []), field)
    return values


def _one_legend(encoded: list[dict[str, Any]], shown: set) -> None:
    """Makes the colours of a field one legend that names what is drawn, in the palette's order."""
    for colour in encoded:
        if "scale" in colour and "domain" in colour["scale"]:
            pairs = zip(colour["scale"]["domain"], colour["scale"]["range"], strict=True)
            kept = [(name, value) for name, value in pairs if name in shown]
            colour["scale"] = {
                "domain": [name for name, _ in kept],
                "range": [value for _, value in kept],
            }
        colour["legend"] = {
            "orient": "bottom",
            "columns": 4,
            "labelLimit": 0,
            "symbolType": "stroke",
            "symbolOpacity": 1,
            "symbolStrokeWidth": 3,
            "direction": "horizontal",
        }
