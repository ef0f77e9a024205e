"""What a rule is, and those of layers that leave each unit by itself.

A unit is one index of a tensor's last axis: a unit of a dense layer, a channel of
a convolution. About the units of every tensor three things are found out:

* group: units with the same number are in the model together or not at all, as
  the two sides of a ReLU are, or the same channel of all branches of an `Add`;
* constant: the value a unit has for every input and at every position, else NaN;
* live: whether the output of the network depends on its value.

A `Rule` answers for one call of one layer. What has no rule of its own is a
barrier: all units before it are live, none behind it is constant, all stay.
"""

from collections.abc import Callable
from typing import NamedTuple

import keras
import numpy as np

PINNED = 0

_ACTIVATIONS = (
    "linear relu relu6 leaky_relu elu selu celu gelu silu sigmoid log_sigmoid hard_sigmoid "
    "hard_silu tanh hard_tanh hard_shrink soft_shrink tanh_shrink softplus softsign squareplus "
    "mish exponential"
).split()
ELEMENTWISE = [getattr(keras.activations, name, None) for name in _ACTIVATIONS]


class Part(NamedTuple):
    """Weights of a layer that belong to units.

    Attributes:
        weight: the variable.
        numbers: group of each weight's unit, int array that broadcasts to the weight.
        makes: whether the weights make the unit, as kernels do; biases only shift it.
    """

    weight: keras.Variable
    numbers: np.ndarray
    makes: bool


class Rule:
    """A layer that computes each unit from the same unit before it; nothing to shrink.

    Args:
        layer: the layer, whose parameters are copied by `load`.
        value: constants before the layer -> constants behind it.

    Attributes:
        mixes: whether each unit behind the layer depends on all of its sums.
        pins: whether the units before the layer stay.
        needs_zeros: whether units before the layer stay that are not 0 when they are masked.
        once: whether it stands for one call alone: shrinking it makes the layer another one.
    """

    mixes = False
    pins = False
    needs_zeros = False
    once = False

    def __init__(self, layer: keras.layers.Layer, value: Callable[[np.ndarray], np.ndarray]):
        self.layer = layer
        self._value = value

    def load(self) -> None:
        """Copies the parameters, from which constants, live units and the shrunk layer follow."""

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns the groups of the units behind the layer.

        Args:
            groups: those before it.
            fresh: gives numbers that were never used.
        """
        return groups[0]

    def joined(self, groups: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns pairs of groups before the layer that become one, number by number."""
        return []

    def parts(self, groups: np.ndarray) -> list[Part]:
        """Returns the weights that belong to the units behind the layer, or to its own.

        Args:
            groups: those of the units behind it.
        """
        return []

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the constants behind the layer."""
        return where_known(self._value, constants[0])

    def masked(self, values: list[np.ndarray]) -> np.ndarray:
        """Returns what units behind the layer are that are masked, else NaN.

        Args:
            values: the same of those before it.
        """
        return self.constants(values)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units before the layer are live, for each of its inputs."""
        return [live]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Takes constants into the biases and drops units from the parameters.

        Args:
            constants: those before the layer.
            live: which units behind the layer are.
            kept_before: which units before the layer stay.
            kept: which units behind it stay.
        """

    def config(self) -> dict:
        """Returns the config of the shrunk layer."""
        return self.layer.get_config()

    def weights(self) -> list[np.ndarray]:
        """Returns the parameters of the shrunk layer, in the order of `Layer.weights`."""
        return []


class Flatten(Rule):
    """Units behind it are those before it, once for every position."""

    def __init__(self, layer: keras.layers.Layer, positions: int):
        super().__init__(layer, lambda constants: np.tile(constants, positions))
        self._positions = positions

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the constants, once for every position."""
        return np.tile(constants[0], self._positions)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units are live at a position."""
        return [np.any(live.reshape(self._positions, -1), axis=0)]

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns the groups, once for every position."""
        return np.tile(groups[0], self._positions)


class Reshape(Rule):
    """A vector that becomes a 1x1 image, or the other way round."""

    once = True

    def __init__(self, layer: keras.layers.Layer, units: int):
        super().__init__(layer, lambda constants: constants)
        self._units = units

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Counts the units that are left."""
        self._units = int(kept.sum())

    def config(self) -> dict:
        """Returns the config with the units that are left."""
        shape = (*self.layer.target_shape[:-1], self._units)
        return {**self.layer.get_config(), "target_shape": shape}


def where_known(value: Callable[[np.ndarray], np.ndarray], constants: np.ndarray) -> np.ndarray:
    """Applies a function to the known constants; what is not finite is not known."""
    known = np.flatnonzero(np.isfinite(constants))
    result = np.full(len(constants), np.nan)
    if len(known):
        values = keras.ops.convert_to_numpy(value(constants[known]))
        result[known] = np.where(np.isfinite(values), values, np.nan)
    return result


def own(layer: keras.layers.Layer, name: str) -> list[keras.Variable]:
    """Returns a layer's weight of a name in a list, which is empty if it has none."""
    weight = getattr(layer, name, None)
    return [] if weight is None else [weight]
