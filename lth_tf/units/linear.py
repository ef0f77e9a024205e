"""Layers that mix all units before them: dense layers and convolutions."""

import math
from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from lth_tf.units.rule import ELEMENTWISE, PINNED, Part, Rule, own, where_known


class Linear(Rule):
    """Dense, Conv and ConvTranspose: a sum over units and positions, a bias, an activation.

    Args:
        layer: a Dense, a Conv or a ConvTranspose of any rank.
        padded: whether zeros come in at the borders, or not every input reaches every
            output. A constant then adds less there than elsewhere and cannot go into the
            bias, unless it is 0.
        transposed: whether the kernel's last axes are units and inputs, not the other way round.
    """

    def __init__(self, layer: keras.layers.Layer, padded: bool, transposed: bool = False):
        self.mixes = layer.activation not in ELEMENTWISE
        super().__init__(layer, layer.activation)
        self._padded = padded
        self._transposed = transposed
        kernel = getattr(layer, "pointwise_kernel", None)
        shape = (layer.kernel if kernel is None else kernel).shape
        self._units = shape[-2 if transposed else -1]

    def load(self) -> None:
        """Copies kernel and bias."""
        kernel, *bias = self.layer.get_weights()
        self._spatial = kernel.shape[:-2]
        kernel = np.swapaxes(kernel, -1, -2) if self._transposed else kernel
        self._kernel = kernel.reshape(-1, *kernel.shape[-2:]).copy()
        self._bias = bias[0].astype(np.float64) if bias else None

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns new groups, but for activations that mix units."""
        return np.full(self._units, PINNED) if self.mixes else fresh(self._units)

    def parts(self, groups: np.ndarray) -> list[Part]:
        """Returns the filter that makes each unit, and its bias."""
        numbers = groups[:, np.newaxis] if self._transposed else groups
        bias = [Part(weight, groups, False) for weight in own(self.layer, "bias")]
        return [Part(self.layer.kernel, numbers, True), *bias]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the value of units that read constants alone."""
        folded = self._foldable(constants[0])
        values = self._folded_bias(constants[0], folded)
        values[self._uses()[~folded].any(0)] = np.nan
        return np.full(len(values), np.nan) if self.mixes else where_known(self._value, values)

    def masked(self, values: list[np.ndarray]) -> np.ndarray:
        """Returns the activation of 0."""
        zeros = np.zeros(self._units)
        return np.full(self._units, np.nan) if self.mixes else where_known(self._value, zeros)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units are read by live ones and cannot go into the bias."""
        return [self._uses()[:, live].any(1) & ~self._foldable(constants[0])]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Folds constants into the bias and drops units from the kernel."""
        folded = self._foldable(constants[0])
        bias = self._folded_bias(constants[0], folded)
        self._kernel[:, folded] = 0
        self._kernel[..., ~live] = 0
        bias[~live] = 0
        self._kernel = self._kernel[:, kept_before[0]][..., kept]
        self._units = int(kept.sum())
        if self._bias is not None or bias.any():
            self._bias = bias[kept]

    def config(self) -> dict:
        """Returns the config with the units that are left."""
        size = "units" if isinstance(self.layer, layers.Dense) else "filters"
        changed = {size: self._kernel.shape[-1], "use_bias": self._bias is not None}
        return {**self.layer.get_config(), **changed}

    def weights(self) -> list[np.ndarray]:
        """Returns kernel and bias."""
        kernel = self._kernel.reshape(*self._spatial, *self._kernel.shape[-2:])
        kernel = np.swapaxes(kernel, -1, -2) if self._transposed else kernel
        return [kernel] if self._bias is None else [kernel, self._bias]

    def _uses(self) -> np.ndarray:
        return (self._kernel != 0).any(0)

    def _foldable(self, constants: np.ndarray) -> np.ndarray:
        return np.equal(constants, 0) if self._padded else ~np.isnan(constants)

    def _folded_bias(self, constants: np.ndarray, folded: np.ndarray) -> np.ndarray:
        total = self._kernel[:, folded].sum(0, dtype=np.float64)
        own_bias = np.zeros(self._kernel.shape[-1]) if self._bias is None else self._bias
        return own_bias + constants[folded] @ total


class Separable(Linear):
    """SeparableConv: a filter for each unit before it, and a 1x1 convolution.

    Args:
        layer: a SeparableConv1D or 2D.
    """

    def __init__(self, layer: keras.layers.Layer):
        super().__init__(layer, padded=True)

    def load(self) -> None:
        """Copies both kernels and the bias."""
        depthwise, pointwise, *bias = self.layer.get_weights()
        self._depthwise = depthwise
        self._each = depthwise.shape[-1]  # units between the two for one before it
        self._spatial = pointwise.shape[:-2]
        self._kernel = pointwise.reshape(-1, *pointwise.shape[-2:]).copy()
        self._bias = bias[0].astype(np.float64) if bias else None

    def parts(self, groups: np.ndarray) -> list[Part]:
        """Returns the pointwise filter that makes each unit, and its bias."""
        bias = [Part(weight, groups, False) for weight in own(self.layer, "bias")]
        return [Part(self.layer.pointwise_kernel, groups, True), *bias]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the value of units that read zeros alone."""
        return super().constants([np.repeat(constants[0], self._each)])

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units are read by live ones."""
        (found,) = super().live(live, [np.repeat(constants[0], self._each)])
        filters = self._depthwise.reshape(-1, found.size)
        return [(found & filters.any(0)).reshape(-1, self._each).any(1)]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Drops units from both kernels."""
        self._depthwise = self._depthwise[..., kept_before[0], :]
        between = [np.repeat(kept_before[0], self._each)]
        super().shrink([np.repeat(constants[0], self._each)], live, between, kept)

    def weights(self) -> list[np.ndarray]:
        """Returns both kernels and the bias."""
        return [self._depthwise, *super().weights()]


class Depthwise(Rule):
    """DepthwiseConv with one filter a channel: each channel for itself.

    Args:
        layer: a DepthwiseConv1D or 2D with depth_multiplier=1.
        padded: as in `Linear`.
    """

    def __init__(self, layer: keras.layers.Layer, padded: bool):
        super().__init__(layer, layer.activation)
        self._padded = padded

    def load(self) -> None:
        """Copies kernel and bias."""
        kernel, *bias = self.layer.get_weights()
        self._spatial = kernel.shape[:-2]
        self._kernel = kernel.reshape(-1, kernel.shape[-2])
        self._bias = bias[0].astype(np.float64) if bias else np.zeros(kernel.shape[-2])

    def parts(self, groups: np.ndarray) -> list[Part]:
        """Returns each unit's filter and bias."""
        bias = [Part(weight, groups, False) for weight in own(self.layer, "bias")]
        return [Part(self.layer.kernel, groups[:, np.newaxis], True), *bias]

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns what constants become, as far as they do not depend on the position."""
        unused = ~self._kernel.any(0)
        values = np.where(unused, 0, self._foldable(constants[0])) + self._bias
        return where_known(self._value, values)

    def masked(self, values: list[np.ndarray]) -> np.ndarray:
        """Returns the activation of 0."""
        return where_known(self._value, np.zeros(len(values[0])))

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units have a filter."""
        return [live & self._kernel.any(0)]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: list[np.ndarray],
        kept: np.ndarray,
    ) -> None:
        """Drops units."""
        self._kernel, self._bias = self._kernel[:, kept], self._bias[kept]

    def config(self) -> dict:
        """Returns the config; the number of units is that of the inputs."""
        return {**self.layer.get_config(), "use_bias": self.layer.use_bias}

    def weights(self) -> list[np.ndarray]:
        """Returns kernel and bias."""
        kernel = self._kernel.reshape(*self._spatial, -1, 1)
        return [kernel, self._bias] if self.layer.use_bias else [kernel]

    def _foldable(self, constants: np.ndarray) -> np.ndarray:
        known = np.where(constants == 0, 0, np.nan) if self._padded else constants
        return known * self._kernel.sum(0, dtype=np.float64)


def linear_rule(
    layer: keras.layers.Layer, kind: type, shape: tuple[int | None, ...]
) -> Rule | None:
    """Returns the rule of a dense layer or a convolution; None for other layers.

    Args:
        layer: the layer.
        kind: its class, of a masked layer that which it was before.
        shape: of what it reads.
    """
    if isinstance(getattr(layer, "activation", None), keras.layers.Layer):
        return None  # it may have weights
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return None
    if kind is layers.Dense:
        return Linear(layer, padded=False)
    if kind in (layers.Conv1D, layers.Conv2D, layers.Conv3D) and layer.groups == 1:
        return Linear(layer, _padded(layer, shape[1:-1]))
    if kind in (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose):
        return Linear(layer, padded=True, transposed=True)
    if kind in (layers.SeparableConv1D, layers.SeparableConv2D):
        return Separable(layer)
    depthwise = kind in (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
    if depthwise and layer.depth_multiplier == 1 and layer.activation in ELEMENTWISE:
        return Depthwise(layer, _padded(layer, shape[1:-1]))
    return None


def _padded(layer: keras.layers.Layer, size: tuple[int | None, ...]) -> bool:
    """Whether a convolution sees zeros beyond the border of an image of this size."""
    if layer.padding == "valid":
        return False
    for length, window, stride, dilation in zip(
        size, layer.kernel_size, layer.strides, layer.dilation_rate, strict=True
    ):
        reach = (window - 1) * dilation + 1
        if reach == 1:
            continue
        if layer.padding != "same" or length is None:
            return True
        if (math.ceil(length / stride) - 1) * stride + reach > length:
            return True
    return False
