"""What an analysis is, and what it looks at: runs, level by level."""

import dataclasses
import functools
from collections.abc import Iterable, Iterator
from typing import Any, ClassVar

import numpy as np

from lth_tf.analysis.bench import Bench
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks, density
from lth_tf.options import Options
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

Row = dict[str, Any]
Weights = dict[str, np.ndarray]

ALL = "all layers"
"""The "layer" of a row that is of all masked weights together."""

FILES, NETWORK, TRAINING = "files", "network", "training"
"""What an analysis needs: files of the run; its network and data; to train again, too."""


@dataclasses.dataclass(frozen=True)
class Panel:
    """How a field of an analysis's rows is drawn; means over seeds.

    Attributes:
        y: field that is drawn.
        title: what it is, with its unit.
        x: field along the horizontal axis; "remaining" is logarithmic, from dense to sparse.
        x_title: what that is, with its unit.
        dashed: second field, drawn dashed: what to compare with.
        colour: field that tells curves apart, "series" or "remaining".
        split: fields that have a panel for each of their values.
        zero: whether the vertical axis begins at 0.
    """

    y: str
    title: str
    x: str = "remaining"
    x_title: str = ""
    dashed: str = ""
    colour: str = "series"
    split: tuple[str, ...] = ()
    zero: bool = False


class Analysis(Options):
    """One quantity or figure: a frozen dataclass, registered by its name.

    Its fields are options. Below it an analysis has one of `of_level` and `of_pair`.

    Attributes:
        title: what it shows.
        caption: how to read it, and its source.
        needs: `FILES`, `NETWORK` or `TRAINING`.
        panels: how its rows are drawn.
        columns: field -> heading, of the numbers in its table.
        keys: fields that have a line of the table for each of their values. Without "layer" the
            table is of all layers together, where there are such rows.
    """

    title: ClassVar[str]
    caption: ClassVar[str]
    needs: ClassVar[str] = FILES
    panels: ClassVar[tuple[Panel, ...]] = ()
    columns: ClassVar[dict[str, str]] = {}
    keys: ClassVar[tuple[str, ...]] = ("series", "level", "remaining")

    def of_level(self, level: "Level") -> Iterable[Row]:
        """Returns the rows of a level of a run.

        Raises:
            UsageError: if a file is missing or damaged, or the run is none for this analysis.
        """
        return ()

    def of_pair(self, one: "Level", other: "Level") -> Iterable[Row]:
        """Returns the rows of the same level of two runs, of other seeds or other series.

        Raises:
            UsageError: as `of_level`.
        """
        return ()


@dataclasses.dataclass(frozen=True, eq=False)
class Subject:
    """A run to be analysed.

    Attributes:
        run: its directory.
        series: what its curve is called.
        bench: its network and data, for analyses that need them; None if there are none at hand.
        only: levels to look at; None for all.
    """

    run: RunDir
    series: str = "tickets"
    bench: Bench | None = None
    only: tuple[int, ...] | None = None

    @functools.cached_property
    def seed(self) -> int:
        """The run's seed."""
        return self.run.config().seed

    @functools.cached_property
    def origin(self) -> Weights:
        """The weights every level starts from: path -> array."""
        return self.run.origin()

    @functools.cached_property
    def dense(self) -> Weights:
        """The trained weights of the dense network: path -> array."""
        return self.run.trained(Stage(0))

    def levels(self) -> Iterator["Level"]:
        """Yields the finished levels that are looked at, each knowing the one before.

        Only two of them are held in memory.
        """
        last = None
        for stage in self.run.finished():
            if stage.control or (self.only is not None and stage.level not in self.only):
                continue
            level = Level(self, stage.level, last)
            yield level
            level.previous = None
            last = level


class Level:
    """A level of a run: its files are read when they are asked for, and once.

    Attributes:
        subject: the run.
        number: of the level.
        previous: the level that was looked at before, or None.
    """

    def __init__(self, subject: Subject, number: int, previous: "Level | None" = None):
        self.subject = subject
        self.number = number
        self.previous = previous

    @property
    def stage(self) -> Stage:
        """The training of the level's ticket."""
        return Stage(self.number)

    @functools.cached_property
    def masks(self) -> Masks:
        """Weight path -> uint8 array; 1 keeps."""
        return self.subject.run.mask(self.stage)

    @functools.cached_property
    def trained(self) -> Weights:
        """Path -> array of every weight at the end of training, pruned weights as 0."""
        return self.subject.run.trained(self.stage) if self.number else self.subject.dense

    @property
    def origin(self) -> Weights:
        """Path -> array of every weight that levels start from, nothing pruned."""
        return self.subject.origin

    @property
    def bench(self) -> Bench:
        """The run's network and data.

        Raises:
            UsageError: if they are not at hand.
        """
        if self.subject.bench is None:
            raise UsageError(
                "Expected a run whose network and data are known. Received: "
                f"{self.subject.run.path}, of which there are files only."
            )
        return self.subject.bench

    def row(self, layer: str = ALL, /, **values: Any) -> Row:
        """Returns a row of this level: its series, seed, number and density (in %), and values."""
        return {
            "series": self.subject.series,
            "seed": self.subject.seed,
            "level": self.number,
            "remaining": self._remaining,
            "layer": layer,
            **values,
        }

    @functools.cached_property
    def _remaining(self) -> float:
        return 100 * density(self.masks)


def with_all(layers: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Returns counts and sums of layers, and their total as that of `ALL`."""
    return {ALL: np.sum(list(layers.values()), axis=0), **layers}


def ratio(part: float, whole: float) -> float:
    """Returns part / whole as a float, NaN of nothing."""
    return float(part / whole) if whole else float("nan")


def by_layer(masks: Masks, *weights: Weights) -> Iterator[tuple[str, tuple[np.ndarray, ...]]]:
    """Yields each layer's path, flat bool mask and flat weights; `ALL`, everything, comes first.

    Args:
        masks: weight path -> array of 0 and 1.
        *weights: path -> array, for every path in `masks`; other paths are left out.

    Example:
    >>> masks = {"a": np.uint8([[1, 0]]), "b": np.uint8([1])}
    >>> for layer, (mask, values) in by_layer(masks, {"a": np.array([[3, 4]]), "b": np.array([5])}):
    ...     print(layer, mask.tolist(), values.tolist())
    all layers [True, False, True] [3, 4, 5]
    a [True, False] [3, 4]
    b [True] [5]
    """
    groups = [{path: mask.astype(bool) for path, mask in masks.items()}, *weights]
    yield ALL, tuple(np.concatenate([g[path].ravel() for path in masks]) for g in groups)
    for path in masks:
        yield path, tuple(group[path].ravel() for group in groups)
