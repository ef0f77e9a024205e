"""What gradual pruning keeps of a network inside compiled updates: weights, or whole units."""

from typing import TYPE_CHECKING

import numpy as np

from lth_tf.lazy import lazy_imports
from lth_tf.methods.densities import AtDensities, kept_weights
from lth_tf.pruning.granularities.grouped import NONE, Grouped

with lazy_imports():
    import tensorflow as tf

    from lth_tf.training import largest

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig
    from lth_tf.masking.variables import Slot


class LargestWeights:
    """Keeps the largest weights of each layer; of equal ones the first.

    Args:
        slots: path -> the masked weights of the network.
        rates: weight path -> how the final density is shared out; those of 0 are left.

    Attributes:
        sizes: layer -> number of units.
        pruned: those of the layers that are pruned.
        slots: path -> what masks and weights are assigned of.
    """

    def __init__(self, slots: "dict[str, Slot]", rates: dict[str, float]):
        self.slots = {path: slot for path, slot in slots.items() if rates[path]}
        self.sizes = {path: slot.mask.value.shape.num_elements() for path, slot in slots.items()}
        self.pruned = list(self.slots)
        self._rates = rates

    def final(self, method: AtDensities, level: int, config: "ProcedureConfig") -> dict[str, int]:
        """Returns layer -> number of units kept in the end of a level."""
        return kept_weights(self.sizes, self._rates, method.final_density[level - 1])

    def keep(self, counts: "dict[str, tf.Tensor]") -> None:
        """Prunes down to so many units of each layer."""
        for path, slot in self.slots.items():
            # Pruned weights are 0; below any that is kept, even one that is 0 itself.
            mask = tf.cast(slot.mask.value, tf.bool)
            weight = tf.where(mask, tf.abs(slot.weight.value), -1.0)
            kept = largest.largest(weight, counts[path])
            slot.mask.assign(tf.cast(mask & kept, slot.mask.dtype))
        self.zero_pruned()

    def zero_pruned(self) -> None:
        """Stores 0 where weights are pruned."""
        for slot in self.slots.values():
            weight = slot.weight.value
            slot.weight.assign(weight * tf.cast(slot.mask.value, weight.dtype))


class LargestUnits(LargestWeights):
    """Keeps the units of the largest mean weight, e.g. channels; of equal ones the first.

    Args:
        slots: path -> the masked weights of the network.
        rates: weight path -> how the final density is shared out.
        units: what is kept or pruned as one.
    """

    def __init__(self, slots: "dict[str, Slot]", rates: dict[str, float], units: Grouped):
        super().__init__(slots, rates)
        self._units = units
        self._all = slots
        of_name = units.rates({path: rates[path] for path in slots})
        self.pruned = [name for name, rate in of_name.items() if rate]
        self.sizes = {name: len(units.pools[name]) for name in self.pruned}

    def final(self, method: AtDensities, level: int, config: "ProcedureConfig") -> dict[str, int]:
        """Returns layer -> number of units kept in the end of a level, as its plan says."""
        shapes = {path: tuple(slot.mask.shape) for path, slot in self._all.items()}
        pools = method.pools(level, shapes, self._rates, config, self._units)
        found = {}
        for (name,), kept in pools.values():
            sizes = np.broadcast_to(self._units.sizes(name), len(self._units.pools[name]))
            found[name] = round(kept * len(sizes) / int(sizes.sum()))
        return found

    def keep(self, counts: "dict[str, tf.Tensor]") -> None:
        """Prunes down to so many units of each layer."""
        total, number = (self._sums(kind) for kind in ("weights", "masks"))
        mean = tf.where(number > 0, total / tf.maximum(number, 1.0), -1.0)
        alive = tf.ones_like(number, tf.bool)
        for name in self.pruned:
            pool = self._units.pools[name]
            values = tf.gather(mean, pool)
            kept = largest.largest(values, counts[name]) & (values >= 0)
            alive = tf.tensor_scatter_nd_update(alive, pool[:, np.newaxis], kept)
        for path, slot in self.slots.items():
            kept = tf.gather(alive, self._numbers(path)) & tf.cast(slot.mask.value, tf.bool)
            slot.mask.assign(tf.cast(kept, slot.mask.dtype))
        self.zero_pruned()

    def _numbers(self, path: str) -> np.ndarray:
        """Returns the unit of each weight; the one after the last for none."""
        numbers = self._units.numbers[path]
        return np.where(numbers == NONE, self._units.count, numbers)

    def _sums(self, kind: str) -> "tf.Tensor":
        found = tf.zeros(self._units.count + 1)
        for path in self._units.kernels:
            slot = self.slots.get(path)
            if slot is None:
                continue
            mask = tf.cast(slot.mask.value, tf.float32)
            value = mask if kind == "masks" else tf.abs(slot.weight.value) * mask
            numbers = self._numbers(path)
            shape = (1,) * (len(value.shape) - numbers.ndim) + numbers.shape
            alike = [axis for axis, length in enumerate(shape) if length == 1]
            value = tf.reduce_sum(value, alike, keepdims=True)
            flat = np.broadcast_to(numbers, value.shape).ravel()
            found += tf.math.unsorted_segment_sum(
                tf.reshape(value, [-1]), flat, self._units.count + 1
            )
        return found
