"""Layers that bring several tensors together."""

from collections.abc import Callable

import keras
import numpy as np

from lth_tf.units.rule import Rule


class Add(Rule):
    """The sum of branches. A branch that is constant in every live unit is taken out.

    Attributes:
        branches: numbers of the inputs that are left.
        shift: what the branches taken out added to each unit.
    """

    once = True

    def __init__(self, layer: keras.layers.Layer, branches: int, units: int):
        super().__init__(layer, lambda constants: constants)
        self.branches = list(range(branches))
        self.shift = np.zeros(units)

    def joined(self, groups: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the first branch with each other one."""
        return [(groups[0], other) for other in groups[1:]]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the sums, unknown where a branch is."""
        return np.sum(constants, axis=0) + self.shift

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the same for every branch."""
        return [live for _ in constants]

    def constant_branches(self, live: np.ndarray, constants: list[np.ndarray]) -> list[int]:
        """Returns places in `branches` to take out; at least one branch stays."""
        constant = [k for k, c in enumerate(constants) if not np.isnan(c[live]).any()]
        return constant if len(constant) < len(constants) else constant[1:]

    def take_out(self, place: int, live: np.ndarray, constants: np.ndarray) -> None:
        """Takes out a branch."""
        del self.branches[place]
        self.shift = self.shift + np.where(live, constants, 0)

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Drops units from the shift."""
        self.shift = self.shift[kept]


class Multiply(Rule):
    """The product of branches of the same units, as in squeeze-and-excitation.

    A unit that is 0 in one branch is 0 behind it, whatever the others are.
    """

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(layer, lambda constants: constants)

    def joined(self, groups: list[np.ndarray]) -> list[tuple[np.ndarray, np.ndarray]]:
        """Returns the first branch with each other one."""
        return [(groups[0], other) for other in groups[1:]]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the products; 0 where a branch is 0, else unknown where a branch is."""
        zero = (np.asarray(constants) == 0).any(0)
        return np.where(zero, 0.0, np.prod(constants, axis=0))

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns the same for every branch: what is 0 in one cannot be seen in the others."""
        needed = live & (self.constants(constants) != 0)
        # Where the product is 0 one branch must be left to say so.
        return [needed | (live & (c == 0)) for c in constants]


class Concatenate(Rule):
    """Units of several tensors side by side.

    Args:
        layer: a Concatenate over the last axis.
        lengths: number of units of each input.
    """

    def __init__(self, layer: keras.layers.Layer, lengths: list[int]):
        super().__init__(layer, lambda constants: constants)
        self._ends = np.cumsum(lengths)[:-1]

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns the groups of all inputs."""
        return np.concatenate(groups)

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the constants of all inputs."""
        return np.concatenate(constants)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units of each input are live."""
        return np.split(live, self._ends)

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Counts the units that are left of each input."""
        self._ends = np.cumsum([int(units.sum()) for units in kept_before])[:-1]
