"""The figures of a report, as Vega-Lite charts for the page and for PNG files alike; one file each.

A figure is a function `(numbers) -> Figure | None`: None where there are no numbers for it.
"""

import dataclasses
from collections.abc import Callable, Iterable, Mapping

import altair as alt

from lth_tf.analysis import ANALYSES
from lth_tf.analysis.base import Analysis
from lth_tf.lazy import lazy_imports
from lth_tf.registry import Registry

from ..results import Row, nearest_densities
from .colours import Palette, palette

with lazy_imports():
    # By other names: the modules themselves are attributes of this package too.
    from . import analyses as _analyses
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
        analyses: name of an analysis of files -> its rows.
    """

    levels: list[Row]
    curves: list[Row]
    densities: list[float]
    iterations: list[int]
    analyses: dict[str, list[Row]] = dataclasses.field(default_factory=dict)


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
    """Returns the figures that there are numbers for, in their order; analyses come last.

    Args:
        numbers: what they are drawn from.
        subject: what they are of, e.g. network and data set.
    """
    drawn = [draw(numbers) for draw in sorted(FIGURES.items().values(), key=_PLACES.__getitem__)]
    shown = nearest_densities(numbers.curves or numbers.levels, numbers.densities)
    made = {name: ANALYSES.get(name) for name in numbers.analyses}
    return _finished(drawn, palette(numbers.levels, shown), subject) + of_analyses(
        made, numbers.analyses, numbers.levels, shown, subject
    )


def of_analyses(
    made: Mapping[str, type[Analysis] | Analysis],
    found: Mapping[str, list[Row]],
    levels: list[Row],
    densities: list[float],
    subject: str = "",
) -> list[Figure]:
    """Returns the figures of analyses that have found something.

    Args:
        made: name -> analysis; says what is drawn.
        found: name -> its rows.
        levels: rows of `results.level_rows`; name the series.
        densities: percentages, of those of the rows, that curves are drawn of.
        subject: what they are of, e.g. network and data set.
    """
    drawn = [_analyses.draw(name, made[name], rows, densities) for name, rows in found.items()]
    return _finished(drawn, palette(levels, densities), subject)


def _finished(drawn: Iterable[Figure | None], colours: Palette, subject: str) -> list[Figure]:
    return [
        dataclasses.replace(figure, subject=subject, colours=colours)
        for figure in drawn
        if figure is not None
    ]
