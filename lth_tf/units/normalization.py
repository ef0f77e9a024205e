"""Batch normalization."""

import keras
import numpy as np

from lth_tf.units.rule import Part, Rule, own, where_known


class BatchNorm(Rule):
    """BatchNormalization over the last axis, with its moving statistics."""

    def __init__(self, layer: keras.layers.BatchNormalization):
        super().__init__(layer, lambda constants: constants)
        # Without a scale a constant is 0 in training alone, where its own mean is taken off.
        self.needs_zeros = not layer.scale

    def load(self) -> None:
        """Copies the parameters."""
        layer = self.layer
        units = layer.moving_mean.shape[0]
        values = [value.astype(np.float64) for value in layer.get_weights()]
        mean, variance = values[-2:]
        scale = values[0] if layer.scale else np.ones(units)
        shift = values[int(layer.scale)] if layer.center else np.zeros(units)
        self._kept = np.arange(units)
        self._used = scale != 0
        self._factor = scale / np.sqrt(variance + layer.epsilon)
        self._shift = shift - mean * self._factor

    def parts(self, groups: np.ndarray) -> list[Part]:
        """Returns scale and shift; without a scale the moving mean shifts a unit as well."""
        names = ("gamma", "beta") if self.layer.scale else ("beta", "moving_mean")
        return [Part(weight, groups, False) for name in names for weight in own(self.layer, name)]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the normalized constants, or the shift where the scale is 0."""
        values = np.where(self._used, constants[0] * self._factor, 0) + self._shift
        return where_known(self._value, values)

    def masked(self, values: list[np.ndarray]) -> np.ndarray:
        """Returns zeros."""
        return np.zeros(len(values[0]))

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units have a scale."""
        return [live & self._used]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Drops units."""
        for name in ("_kept", "_used", "_factor", "_shift"):
            setattr(self, name, getattr(self, name)[kept])

    def weights(self) -> list[np.ndarray]:
        """Returns the parameters of the units that are left."""
        return [value[self._kept] for value in self.layer.get_weights()]
