"""The figures of a report, as Vega-Lite charts for the page and for PNG files alike; one file each.

A figure is a function `(numbers) -> Figure | None`: None where there are no numbers for it.
"""

import dataclasses
from collections.abc import Callable

import altair as alt

from lth_tf.lazy import lazy_imports
from lth_tf.registry import Registry

from ..results import Row, nearest_densities
from .colours import Palette, palette

with lazy_imports():
    # By another name: the module itself is an attribute of this package too.
    from . import picture as _picture

# What layers of charts are to altair.
Chart = alt.LayerChart | alt.FacetChart

FIGURES = Registry("figure", package=__name__)


@dataclasses.dataclass(frozen=True)
class Figure:
    """Charts that belong together.

    Attributes:
        name: file name without ending.
        title: what it shows.
        caption: how to read it.
        charts: without width and height; the title of each says what it shows.
        subject: what it is of, a line for pictures.
        colours: of series and densities, the same in all figures of a report.
    """

    name: str
    title: str
    caption: str
    charts: list[Chart]
    subject: str = ""
    colours: Palette = dataclasses.field(default_factory=dict)

    def _repr_png_(self) -> bytes:
        """Returns what a notebook shows."""
        return _picture.png(self, pixels=1)


@dataclasses.dataclass(frozen=True)
class Numbers:
    """What figures are drawn from.

    Attributes:
        levels: rows of `results.level_rows`.
        curves: rows of `results.curve_rows`.
        densities: percentages whose accuracy curves to show; the nearest are taken.
        iterations: iterations to show the accuracy at; the nearest are taken.
    """

    levels: list[Row]
    curves: list[Row]
    densities: list[float]
    iterations: list[int]


Draw = Callable[[Numbers], Figure | None]
# Figure -> its place in the report.
_PLACES: dict[Draw, int] = {}


def register(name: str, order: int = 100) -> Callable[[Draw], Draw]:
    """Returns a decorator that registers a figure.

    Args:
        name: of the figure.
        order: its place in the report, among equals by name.
    """

    def decorate(draw: Draw) -> Draw:
        _PLACES[draw] = order
        return FIGURES.register(name)(draw)

    return decorate


def figures(numbers: Numbers, subject: str = "") -> list[Figure]:
    """Returns the figures that there are numbers for, in their order.

    Args:
        numbers: what they are drawn from.
        subject: what they are of, e.g. network and data set.
    """
    drawn = [draw(numbers) for draw in sorted(FIGURES.items().values(), key=_PLACES.__getitem__)]
    colours = palette(numbers.levels, nearest_densities(numbers.curves, numbers.densities))
    return [
        dataclasses.replace(figure, subject=subject, colours=colours)
        for figure in drawn
        if figure is not None
    ]
