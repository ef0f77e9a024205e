"""At most two of every four weights side by side."""

from fractions import Fraction
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf.lazy import lazy_imports
from lth_tf.masking.arrays import Masks
from lth_tf.pruning.granularities import register
from lth_tf.pruning.granularities.base import Arrays, Granularity, Rates, Shapes, Units

with lazy_imports():
    from lth_tf.masking import model as masking

if TYPE_CHECKING:
    import keras

KEPT, OF = 2, 4


@register("2:4")
class TwoOfFour(Granularity):
    """Two of every four weights along the inputs stay, as sparse tensor cores compute.

    All fours of a layer keep the same number: at first four, then three, then two, and no
    fewer. So a prune rate of 0.5 gives the pattern at once, and rates of 0.25 and more in two
    levels. What is left over at the end of a row keeps two as well.

    Source:
        Mishra et al. 2021, arXiv:2104.08378.
    """

    fixed: ClassVar[bool] = False

    def units(self, model: "keras.Model") -> Units:
        """Returns the ranks within the fours of every masked weight."""
        shapes = {path: mask.shape for path, mask in masking.get_masks(model).items()}
        return Ranks(shapes)


class Ranks(Units):
    """Four units a layer: the highest weights of all fours, the second highest, and so on.

    Args:
        shapes: weight path -> shape [..., inputs, outputs].
    """

    def __init__(self, shapes: dict[str, tuple[int, ...]]):
        self._sizes = {}
        for path, shape in shapes.items():
            inside = _fours(np.ones(shape), 0).sum(axis=(0, 2)).astype(int)
            self._sizes[path] = inside

    def rates(self, rates: Rates) -> dict[str, float | Fraction]:
        """Returns the rates of the weights that have fours."""
        return {path: rate for path, rate in rates.items() if path in self._sizes}

    def shapes(self, shapes: Shapes) -> dict[str, int | tuple[int, ...]]:
        """Returns the weights' own."""
        return {path: shape for path, shape in shapes.items() if path in self._sizes}

    def sizes(self, name: str) -> np.ndarray:
        """Returns int array [4]: how many fours have a weight of each rank."""
        return self._sizes[name]

    def least(self, name: str) -> int:
        """Returns the number of weights of the two highest ranks."""
        return int(self._sizes[name][:KEPT].sum())

    def fold(self, masks: Masks) -> Masks:
        """Returns path -> uint8 array [4]; 1 for the ranks that are left."""
        found = {}
        for path, mask in masks.items():
            most = int(_fours(mask != 0, 0).sum(1).max())
            ranks = np.arange(OF) < most
            found[path] = (ranks & (self._sizes[path] > 0)).astype(np.uint8)
        return found

    def score(self, scores: Arrays, masks: Masks) -> dict[str, np.ndarray]:
        """Returns path -> float64 array [4]: mean of each rank, infinite of the highest two."""
        found = {}
        for path, mask in masks.items():
            kept = np.where(mask != 0, scores[path], -np.inf)
            ordered = -np.sort(-_fours(kept, -np.inf), axis=1)
            there = np.isfinite(ordered)
            total = np.where(there, ordered, 0.0).sum(axis=(0, 2), dtype=np.float64)
            mean = total / np.maximum(there.sum(axis=(0, 2)), 1)
            mean[:KEPT] = np.inf
            found[path] = mean
        return found

    def unfold(self, units: Masks, masks: Masks, scores: Arrays) -> Masks:
        """Returns the masks of the highest weights of each four, as many as ranks are kept."""
        result = {}
        for path, mask in masks.items():
            if path not in units:
                result[path] = mask.copy()
                continue
            kept = np.where(mask != 0, scores[path], -np.inf)
            # Of equal scores the first go first, as of single weights.
            order = np.argsort(-_fours(kept, -np.inf)[:, ::-1], axis=1, kind="stable")
            place = np.empty_like(order)
            np.put_along_axis(place, order, np.arange(OF)[np.newaxis, :, np.newaxis], axis=1)
            chosen = place[:, ::-1] < int(units[path].sum())
            result[path] = (_flat(chosen, mask.shape) & (mask != 0)).astype(np.uint8)
        return result


def _fours(values: np.ndarray, fill: float) -> np.ndarray:
    """Returns [places * fours of a row, 4, outputs] of [..., inputs, outputs]."""
    inputs, outputs = values.shape[-2:]
    rows = values.reshape(-1, inputs, outputs)
    missing = -inputs % OF
    rows = np.pad(rows, ((0, 0), (0, missing), (0, 0)), constant_values=fill)
    return rows.reshape(-1, OF, outputs)


def _flat(fours: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
    """Returns the array that `_fours` was given."""
    inputs, outputs = shape[-2:]
    rows = fours.reshape(-1, inputs + -inputs % OF, outputs)
    return rows[:, :inputs].reshape(shape)
