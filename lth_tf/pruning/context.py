"""What a criterion may look at."""

import dataclasses
from collections.abc import Callable, Iterator, Mapping
from typing import Protocol

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.seeding import generator

Arrays = dict[str, np.ndarray]


class OnDemand(Mapping[str, np.ndarray]):
    """Arrays that are read when they are first asked for: few criteria look at the origin.

    Args:
        read: returns the arrays.
    """

    def __init__(self, read: Callable[[], Arrays]):
        self._read = read
        self._arrays: Arrays | None = None

    def _all(self) -> Arrays:
        if self._arrays is None:
            self._arrays = self._read()
        return self._arrays

    def __getitem__(self, path: str) -> np.ndarray:
        return self._all()[path]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())


class Network(Protocol):
    """Derivatives of a network, with weights that are handed over; none of its own changes."""

    def gradients(self, weights: Arrays, masks: Masks, temperature: float = 1.0) -> Arrays:
        """Returns path -> gradient of the training loss with respect to the effective weights.

        Args:
            weights: path -> array of every weight.
            masks: weight path -> uint8 array.
            temperature: what logits are divided by.

        Returns:
            Masked weight path -> float array of the weight's shape; also of pruned weights.
        """

    def hessian_product(
        self, weights: Arrays, masks: Masks, direction: Arrays, temperature: float = 1.0
    ) -> Arrays:
        """Returns path -> product of the training loss's Hessian with a direction.

        Args:
            weights: path -> array of every weight.
            masks: weight path -> uint8 array.
            direction: masked weight path -> float array; others count as 0.
            temperature: what logits are divided by.
        """

    def flow_gradients(self, weights: Arrays, masks: Masks) -> Arrays:
        """Returns path -> gradient of the sum of the outputs for an input of ones, in float64.

        Args:
            weights: path -> array of every weight and moving statistic.
            masks: weight path -> uint8 array.
        """


@dataclasses.dataclass(frozen=True)
class PruningContext:
    """What a criterion may look at.

    Attributes:
        masks: weight path -> uint8 array of the weights to score; 1 keeps.
        trained: path -> float array of every weight at the end of training.
        origin: path -> float array of every weight that training started from.
        stream: seed and name of the random stream.
        network: derivatives of the loss, for criteria that ask for them.
        units: what is kept or pruned as one.
    """

    masks: Masks
    trained: Arrays
    origin: Mapping[str, np.ndarray]
    stream: tuple[int, *tuple[str | int, ...]] = (0,)
    network: Network | None = None
    units: Units = EVERY_WEIGHT

    def generator(self, path: str) -> np.random.Generator:
        """Returns the random stream of one weight."""
        return generator(*self.stream, path)

    def gradients(self, temperature: float = 1.0) -> Arrays:
        """Returns weight path -> gradient of the training loss at the trained weights.

        Args:
            temperature: what logits are divided by.

        Raises:
            UsageError: if there are no training examples at hand.
        """
        return self._derivatives().gradients(self.trained, self.masks, temperature)

    def hessian_product(self, direction: Arrays, temperature: float = 1.0) -> Arrays:
        """Returns weight path -> product of the Hessian at the trained weights.

        Args:
            direction: weight path -> float array.
            temperature: what logits are divided by.

        Raises:
            UsageError: if there are no training examples at hand.
        """
        network = self._derivatives()
        return network.hessian_product(self.trained, self.masks, direction, temperature)

    def flow_gradients(self) -> Arrays:
        """Returns weight path -> gradient of the summed outputs of the network of absolute values.

        Every parameter and moving statistic is taken as its absolute value, and the input is
        ones; float64.

        Raises:
            UsageError: if there is no network at hand.
        """
        positive = {path: np.abs(value) for path, value in self.trained.items()}
        return self._derivatives().flow_gradients(positive, self.masks)

    def _derivatives(self) -> Network:
        if self.network is None:
            raise UsageError(
                "Expected a network that can be asked for gradients: this criterion needs them. "
                "Received: none, as in fit on another backend than TensorFlow."
            )
        return self.network
