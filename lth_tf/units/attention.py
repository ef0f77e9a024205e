"""Heads of attention: units that no tensor shows."""

from collections.abc import Callable

import keras
import numpy as np

from lth_tf.units.rule import PINNED, Part, Rule


class Attention(Rule):
    """MultiHeadAttention: what it reads and returns stays, a head whose values are 0 goes."""

    mixes = True
    pins = True

    def __init__(self, layer: keras.layers.MultiHeadAttention):
        super().__init__(layer, lambda constants: constants)
        self._heads = np.ones(layer.num_heads, bool)
        self._numbers = np.zeros(0, np.int64)

    def load(self) -> None:
        """Finds the heads that add nothing: without values, or that nothing reads."""
        values = [np.asarray(weight) for weight in self.layer.value_dense.weights]
        valued = np.any([(w != 0).any((*range(w.ndim - 2), -1)) for w in values], 0)
        read = (np.asarray(self.layer.output_dense.kernel) != 0).reshape(len(valued), -1).any(1)
        self._heads = valued & read
        self._heads[0] |= not self._heads.any()

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns outputs that stay; heads get groups of their own."""
        self._numbers = fresh(int(self._heads.sum()))
        return np.full(self._width(), PINNED)

    def parts(self, groups: np.ndarray) -> list[Part]:
        """Returns of each head what makes queries, keys and values, and what reads it."""
        found = []
        for dense in (self.layer.query_dense, self.layer.key_dense, self.layer.value_dense):
            bias = [] if dense.bias is None else [Part(dense.bias, self._numbers[:, None], False)]
            found += [Part(dense.kernel, self._numbers[:, None], True), *bias]
        out = self.layer.output_dense.kernel
        numbers = self._numbers.reshape(-1, *[1] * (len(out.shape) - 1))
        return [*found, Part(out, numbers, True)]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns that nothing is known."""
        return np.full(self._width(), np.nan)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns that all is read."""
        return [np.ones(len(units), bool) for units in constants]

    def config(self) -> dict:
        """Returns the config with the heads that are left."""
        return {**self.layer.get_config(), "num_heads": int(self._heads.sum())}

    def weights(self) -> list[np.ndarray]:
        """Returns the parameters of the heads that are left."""
        found = []
        for dense in (self.layer.query_dense, self.layer.key_dense, self.layer.value_dense):
            found += [np.asarray(weight)[..., self._heads, :] for weight in dense.weights]
        kernel, *bias = [np.asarray(weight) for weight in self.layer.output_dense.weights]
        return [*found, kernel[self._heads], *bias]

    def _width(self) -> int:
        return int(np.prod(self.layer.output_dense.kernel.shape[2:]))


def attention_rule(
    layer: keras.layers.MultiHeadAttention, outputs: list[keras.KerasTensor]
) -> Rule | None:
    """Returns the rule of a call of attention; None for a barrier.

    Args:
        layer: the layer.
        outputs: what it returned.
    """
    plain = len(outputs) == 1 and len(outputs[0].shape) == 3 and not layer.get_config().get("gate")
    one = len(layer.output_dense.kernel.shape) == 3
    return Attention(layer) if plain and one else None
