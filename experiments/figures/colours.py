"""The colours of a report: a series, or a density, has the same one in all of its charts."""

import math
from typing import Any

from ..results import Row

# After Okabe & Ito, who are told apart by the colour-blind too; each is seen on white and on black.
_SERIES = ["#1f78b4", "#d55e00", "#009e73", "#b4559b", "#b8860b", "#2aa5c0", "#808080"]
# From dense to sparse; lighter as well as another hue, and seen on white and on black.
_DENSITIES = ["#5b5fd6", "#a44fc4", "#d8507f", "#e8743b", "#c99a1e"]

Palette = dict[str, dict[Any, str]]


def palette(levels: list[Row], densities: list[float]) -> Palette:
    """Returns field -> value -> colour.

    Args:
        levels: rows of `results.level_rows`; the series are coloured in their order.
        densities: percentages that are shown.
    """
    series = dict.fromkeys(row["series"] for row in levels)
    ordered = sorted(densities, reverse=True)
    return {
        "series": {name: _SERIES[i % len(_SERIES)] for i, name in enumerate(series)},
        "remaining": {
            density: _ramp(i / max(1, len(ordered) - 1)) for i, density in enumerate(ordered)
        },
    }


def coloured(spec: Any, colours: Palette) -> Any:
    """Returns a Vega-Lite specification whose colours of known fields are those of a palette.

    Args:
        spec: a specification, or a part of one.
        colours: what `palette` returned.
    """
    if isinstance(spec, list):
        return [coloured(part, colours) for part in spec]
    if not isinstance(spec, dict):
        return spec
    found = {name: coloured(part, colours) for name, part in spec.items() if name != "data"}
    if "data" in spec:
        found["data"] = spec["data"]
    colour = found.get("color")
    if isinstance(colour, dict) and colour.get("field") in colours:
        known = colours[colour["field"]]
        scale = {"domain": list(known), "range": list(known.values())}
        found["color"] = {**colour, "scale": scale}
    return found


def _ramp(share: float) -> str:
    """Returns the colour so far from the dense end: 0 is the first, 1 the last."""
    place = share * (len(_DENSITIES) - 1)
    low = min(math.floor(place), len(_DENSITIES) - 2)
    ends = [[int(_DENSITIES[i][k : k + 2], 16) for k in (1, 3, 5)] for i in (low, low + 1)]
    mixed = [round(a + (b - a) * (place - low)) for a, b in zip(*ends, strict=True)]
    return "#" + "".join(f"{part:02x}" for part in mixed)
