"""The figures of a report, as Vega-Lite charts for the page and for PNG files alike; one file each.

A figure is a function `(numbers) -> Figure | None`: None where there are no numbers for it.
"""

import dataclasses
from collections.abc import Callable

import altair as alt

from lth_tf.registry import Registry

from ..results import Row

FIGURES = Registry("figure", package=__name__)


@dataclasses.dataclass(frozen=True)
class Figure:
    """Charts that belong together.

    Attributes:
        name: file name without ending.
        title: what it shows.
        caption: how to read it.
        charts: without width and height.
    """

    name: str
    title: str
    caption: str
    charts: list[alt.LayerChart]

    def side_by_side(self, width: int = 380, height: int = 260) -> alt.Chart:
        """Returns the charts as one, two in a row."""
        sized = [chart.properties(width=width, height=height) for chart in self.charts]
        return alt.concat(*sized, columns=2).resolve_scale(color="shared")


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


def register(name: str, order: int = 100) -> Callable[[Draw], Draw]:
    """Returns a decorator that registers a figure.

    Args:
        name: of the figure.
        order: its place in the report, among equals by name.
    """

    def decorate(draw: Draw) -> Draw:
        draw.order = order
        return FIGURES.register(name)(draw)

    return decorate


def figures(numbers: Numbers) -> list[Figure]:
    """Returns the figures that there are numbers for, in their order."""
    drawn = [draw(numbers) for draw in sorted(FIGURES.items().values(), key=lambda d: d.order)]
    return [figure for figure in drawn if figure is not None]
