"""Whether large weights were large from the start."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row, Weights, by_layer
from lth_tf.masking.arrays import Masks
from lth_tf.options import option


@register("large_weights")
@dataclasses.dataclass(frozen=True)
class LargeWeights(Analysis):
    """The largest weights before training against the largest after it."""

    title = "Whether large weights were large from the start"
    caption = (
        "Of the largest weights (20 % of those kept, by default) before training, the share that "
        "is among the largest after it. Dashed: chance."
    )
    panels = (
        Panel("shared", "Of the largest in both (%)", dashed="chance", split=("layer",), zero=True),
    )
    columns = {"shared": "in both (%)", "chance": "chance (%)"}

    top: float = option(0.2, "Part of the weights that counts as large.", minimum=0.0, maximum=1.0)

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer: "shared" and "chance" in %."""
        found = top_overlap(level.masks, level.origin, level.trained, self.top)
        for layer, (shared, chance) in found.items():
            yield level.row(layer, shared=100 * shared, chance=100 * chance)


def top_overlap(
    masks: Masks, one: Weights, other: Weights, top: float = 0.2
) -> dict[str, tuple[float, float]]:
    """Returns weight path, and `ALL` -> share of the largest weights in common, and by chance.

    Of the n weights kept the round(top * n) largest in magnitude count, at least one; of equals
    those with the smaller index. Chance is their number over n. NaN where nothing is kept.

    Args:
        masks: weight path -> array of 0 and 1.
        one: path -> array, e.g. the weights before training.
        other: the same, after it.
        top: fraction of the weights kept.

    Source:
        Ma et al. 2021, arXiv:2107.00166 (correlation of initial and final weights; there of
        the dense network's p % largest).

    Example:
    >>> before, after = np.array([5.0, -4.0, 1.0, 1.0]), np.array([1.0, -4.0, 2.0, 3.0])
    >>> top_overlap({"w": np.ones(4)}, {"w": before}, {"w": after}, top=0.5)["w"]
    (0.5, 0.5)
    """
    return {
        layer: _shared(a[kept], b[kept], top) for layer, (kept, a, b) in by_layer(masks, one, other)
    }


def _shared(one: np.ndarray, other: np.ndarray, top: float) -> tuple[float, float]:
    if not one.size:
        return float("nan"), float("nan")
    count = max(1, round(top * one.size))
    both = _largest(one, count) & _largest(other, count)
    return int(both.sum()) / count, count / one.size


def _largest(values: np.ndarray, count: int) -> np.ndarray:
    """Returns bool [values]: which are the largest in magnitude, exactly `count` of them."""
    magnitude = np.abs(values)
    least = np.partition(magnitude, -count)[-count]
    found = magnitude > least
    equal = np.flatnonzero(magnitude == least)
    found[equal[: count - int(found.sum())]] = True
    return found
