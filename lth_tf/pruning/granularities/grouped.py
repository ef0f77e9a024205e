"""Units that are fixed: each weight belongs to one of them, or to none."""

from collections.abc import Iterable, Mapping
from fractions import Fraction

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.pruning.granularities.base import Arrays, Rates, Shapes, Units

NONE = -1


class Grouped(Units):
    """Units of several weights, numbered from 0 through all layers.

    A unit's score is the mean of those of its weights that are left: what costs more has to be
    worth more. Of `magnitude` that is its L1 norm by its size, of `squared_magnitude` its
    squared L2 norm.

    Args:
        numbers: weight path -> int array that broadcasts to the weight: each weight's unit, NONE
            for a weight that is never pruned.
        shapes: weight path -> shape of the weight.
        scored: paths of the weights that have a say in scores, prune rates and names; the
            others only go with them.

    Attributes:
        numbers: as given.
        kernels: the paths that are scored.
        count: number of units.
        pools: name -> numbers of the units that the same kernels make.
        makers: name -> paths of those kernels.
    """

    def __init__(
        self,
        numbers: Mapping[str, np.ndarray],
        shapes: Mapping[str, tuple[int, ...]],
        scored: list[str],
    ):
        self.numbers = dict(numbers)
        self._shapes = dict(shapes)
        self.kernels = [path for path in scored if path in numbers]
        self.count = 1 + max((int(n.max(initial=NONE)) for n in numbers.values()), default=NONE)
        ones = {path: np.broadcast_to(np.uint8(1), shapes[path]) for path in numbers}
        self._size = self._sum(ones, ones).astype(np.int64)
        self.pools = self._pooled()

    def _pooled(self) -> dict[str, np.ndarray]:
        """Returns name -> numbers of the units that the same kernels make."""
        makers: dict[int, list[str]] = {}
        for path in self.kernels:
            for number in np.unique(self.numbers[path]).tolist():
                if number != NONE:
                    makers.setdefault(number, []).append(path)
        together: dict[tuple[str, ...], list[int]] = {}
        for number in sorted(makers):
            together.setdefault(tuple(makers[number]), []).append(number)
        pools: dict[str, np.ndarray] = {}
        self.makers: dict[str, tuple[str, ...]] = {}
        for paths, found in sorted(together.items(), key=lambda item: item[1][0]):
            name = next(path for path in (*paths, "+".join(paths)) if path not in pools)
            pools[name] = np.array(found)
            self.makers[name] = paths
        return pools

    def _present(self, paths: Iterable[str]) -> dict[str, np.ndarray]:
        """Returns the pools whose kernels are all among some paths."""
        known = set(paths)
        return {n: p for n, p in self.pools.items() if known.issuperset(self.makers[n])}

    def rates(self, rates: Rates) -> dict[str, float | Fraction]:
        """Returns for layers chosen together the highest of their rates."""
        found = self._present(rates)
        return {name: max(rates[path] for path in self.makers[name]) for name in found}

    def shared(self, rates: Rates) -> dict[str, float]:
        """Returns for each weight the highest rate of its units; 0 where none can go."""
        result = dict.fromkeys(rates, 0.0)
        by_unit = np.zeros(self.count)
        for name, rate in self.rates(rates).items():
            by_unit[self.pools[name]] = rate
        for path, numbers in self.numbers.items():
            if path in result:
                result[path] = float(by_unit[numbers[numbers != NONE]].max(initial=0.0))
        return result

    def shapes(self, shapes: Shapes) -> dict[str, int | tuple[int, ...]]:
        """Returns the weight's own shape, or [weights of a unit, units] of several together."""
        found: dict[str, int | tuple[int, ...]] = {}
        for name, units in self._present(shapes).items():
            size = int(self._size[units].sum())
            alone = self._shapes[self.makers[name][0]]
            even = size == np.prod(alone, dtype=int)
            found[name] = alone if even else (size // len(units), len(units))
        return found

    def sizes(self, name: str) -> int | np.ndarray:
        """Returns the number of weights of each unit, one number if it is the same."""
        sizes = self._size[self.pools[name]]
        return int(sizes[0]) if (sizes == sizes[0]).all() else sizes

    def fold(self, masks: Masks) -> Masks:
        """Returns name -> uint8 array [units]; 0 where none of its kernels' weights is left."""
        kernels = {path: masks[path] for path in self.kernels if path in masks}
        alive = self._sum(kernels, kernels) > 0
        return {name: alive[p].astype(np.uint8) for name, p in self._present(masks).items()}

    def score(self, scores: Arrays, masks: Masks) -> dict[str, np.ndarray]:
        """Returns name -> float64 array [units]: mean score of the kernels' weights left."""
        kernels = {path: masks[path] for path in self.kernels if path in masks}
        count = np.maximum(self._sum(kernels, kernels), 1)
        mean = self._sum(scores, kernels) / count
        return {name: mean[p] for name, p in self._present(masks).items()}

    def unfold(self, units: Masks, masks: Masks, scores: Arrays) -> Masks:
        """Returns the masks without the weights of units that are not kept."""
        alive = np.ones(self.count + 1, np.uint8)  # the last stands for NONE
        for name, kept in units.items():
            alive[self.pools[name]] = kept
        return {
            path: mask & alive[self.numbers[path]] if path in self.numbers else mask.copy()
            for path, mask in masks.items()
        }

    def spread(self, values: Arrays, masks: Masks) -> dict[str, np.ndarray]:
        """Returns weight path -> float64 array: the sum of the values of a weight's unit."""
        known = {p: np.ones_like(masks[p]) for p in values if p in self.numbers and p in masks}
        total = self._sum(values, known)
        without = self._sum(known, known) == 0
        for name, units in self._present(masks).items():
            if without[units].any():
                raise UsageError(
                    "Expected a normalization with a scale behind every layer that is pruned. "
                    f"Received: none behind {name!r}. Use the criterion magnitude, or leave "
                    "the layer out."
                )
        total = np.append(total, 0.0)
        return {
            path: np.broadcast_to(total[self.numbers[path]], mask.shape)
            if path in self.numbers
            else np.zeros(mask.shape)
            for path, mask in masks.items()
        }

    def _sum(self, values: Arrays, masks: Masks) -> np.ndarray:
        """Returns for each unit the sum of the values of its weights that a mask keeps."""
        total = np.zeros(self.count + 1)
        for path, mask in masks.items():
            numbers = self.numbers[path]
            value = values[path]
            kept = mask if value is mask else np.where(mask != 0, value, 0)
            axes = (1,) * (kept.ndim - numbers.ndim) + numbers.shape
            whole = tuple(k for k, n in enumerate(axes) if n == 1)
            summed = kept.sum(whole, dtype=np.float64, keepdims=True)
            flat = np.broadcast_to(numbers, summed.shape).ravel()
            total += np.bincount(flat % (self.count + 1), summed.ravel(), self.count + 1)
        return total[:-1]
