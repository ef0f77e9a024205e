"""What `experiments.benchmark` measures, one file a suite.

A suite is a function `(options) -> results`, found by the name that it registers.
"""

import dataclasses
import statistics
from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

from lth_tf.cli.table import Column, table
from lth_tf.registry import Registry

SUITES = Registry("suite", package=__name__)
register = SUITES.register


@dataclasses.dataclass(frozen=True)
class Result:
    """What alternatives came to, measured in turn.

    Attributes:
        title: what was measured; with `unit` it is found again in another file.
        unit: of the values, e.g. "iterations/s".
        values: alternative -> one value a round.
        note: a line that explains the numbers, or "".
    """

    title: str
    unit: str
    values: dict[str, list[float]]
    note: str = ""

    def text(self) -> str:
        """Returns a line an alternative, with its ratio to the first, round by round."""
        first = next(iter(self.values.values()))
        rows = []
        for name, values in self.values.items():
            ratio = ""
            if values is not first and len(values) == len(first):
                ratios = [one / other for one, other in zip(first, values, strict=True)]
                ratio = spread(ratios, ".2f")
            rows.append([name, spread(values, ",.4g"), ratio])
        columns = (
            Column("", left=True, shrink=True),
            Column(self.unit),
            Column("first / this"),
        )
        return "\n".join(filter(None, [self.title, table(columns, rows), self.note]))


class Options(Protocol):
    """What a suite is asked for; see `experiments.benchmark`."""

    @property
    def networks(self) -> str:
        """Names of networks, comma-separated."""

    @property
    def rounds(self) -> int:
        """How often each alternative is measured, in turn."""

    @property
    def seconds(self) -> float:
        """How long each time, about."""


Rate = Callable[[], float]


def in_turn(
    title: str, rates: dict[str, Rate], rounds: int, unit: str = "iterations/s", note: str = ""
) -> Result:
    """Returns what alternatives come to when they are measured one after the other, in rounds."""
    values: dict[str, list[float]] = {name: [] for name in rates}
    for _ in range(rounds):
        for name, rate in rates.items():
            values[name].append(rate())
    return Result(title, unit, values, note)


def spread(values: Sequence[float], form: str) -> str:
    """Returns median, smallest and largest.

    Example:
    >>> spread([3.0, 1.0, 2.0], ".1f")
    '2.0 (1.0-3.0)'
    """
    low, middle, high = min(values), statistics.median(values), max(values)
    return f"{middle:{form}} ({low:{form}}-{high:{form}})"


def compared(values: dict[str, list[float]], earlier: dict[str, list[float]]) -> Iterator[str]:
    """Yields a line for each alternative that was measured before.

    Example:
    >>> list(compared({"fit": [2.0, 2.2], "loop": [4.0]}, {"fit": [1.0, 1.1]}))
    ['fit: 2.00 x the earlier median, outside its spread']
    """
    for name in values:
        if name in earlier:
            now, before = statistics.median(values[name]), earlier[name]
            outside = "outside" if not min(before) <= now <= max(before) else "inside"
            ratio = now / statistics.median(before)
            yield f"{name}: {ratio:.2f} x the earlier median, {outside} its spread"
