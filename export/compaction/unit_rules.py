"""How units pass through the layers that `compact` knows, and how a layer shrinks.

A unit is one index of a tensor's last axis: a unit of a dense layer, a channel of
a convolution. About the units of every tensor three things are found out:

* constant: the value a unit has for every input and at every position, else NaN;
* live: whether the output of the network depends on its value;
* group: units with the same number are in the model together or not at all, as
  the two sides of a ReLU are, or the same channel of all branches of an `Add`.

A `Rule` answers for one call of one layer. What has no rule of its own is a
barrier: all units before it are live, none behind it is constant, all stay.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

PINNED = 0

_ACTIVATIONS = (
    "linear relu relu6 leaky_relu elu selu celu gelu silu sigmoid log_sigmoid hard_sigmoid "
    "hard_silu tanh hard_tanh hard_shrink soft_shrink tanh_shrink softplus softsign squareplus "
    "mish exponential"
).split()
_ELEMENTWISE = [getattr(keras.activations, name, None) for name in _ACTIVATIONS]
_IDENTITY = (
    layers.Dropout,
    layers.AlphaDropout,
    layers.GaussianDropout,
    layers.GaussianNoise,
    layers.SpatialDropout1D,
    layers.SpatialDropout2D,
    layers.SpatialDropout3D,
    layers.ActivityRegularization,
    layers.Identity,
)
_POOLING = tuple(
    getattr(layers, f"{kind}Pooling{rank}D")
    for kind in ("Max", "Average", "GlobalMax", "GlobalAverage")
    for rank in (1, 2, 3)
)
_ZERO_PADDING = (layers.ZeroPadding1D, layers.ZeroPadding2D, layers.ZeroPadding3D)


class Rule:
    """A layer that computes each unit from the same unit before it; nothing to shrink.

    Args:
        layer: the layer, whose parameters are copied.
        value: constants before the layer -> constants behind it.
    """

    mixes = False

    def __init__(self, layer: keras.layers.Layer, value: Callable[[np.ndarray], np.ndarray]):
        self.layer = layer
        self._value = value

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        """Returns the constants behind the layer."""
        return _where_known(self._value, constants[0])

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        """Returns which units before the layer are live, for each of its inputs."""
        return [live]

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        """Returns the groups of the units behind the layer.

        Args:
            groups: those before it.
            fresh: gives numbers that were never used.
        """
        return groups[0]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: np.ndarray,
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


class _Flatten(Rule):
    """Units behind it are those before it, once for every position."""

    def __init__(self, layer: keras.layers.Layer, positions: int):
        super().__init__(layer, lambda constants: np.tile(constants, positions))
        self._positions = positions

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        return np.tile(constants[0], self._positions)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        return [np.logical_or.reduce(live.reshape(self._positions, -1))]

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        return np.tile(groups[0], self._positions)


class _Linear(Rule):
    """Dense and Conv: a sum over units and positions, a bias, an activation.

    Args:
        layer: a Dense or a Conv of any rank.
        padded: whether zeros come in at the borders. A constant then adds less
            there than elsewhere and cannot go into the bias, unless it is 0.
    """

    def __init__(self, layer: keras.layers.Layer, padded: bool):
        self.mixes = layer.activation not in _ELEMENTWISE
        super().__init__(layer, layer.activation)
        self._padded = padded
        kernel, *bias = layer.get_weights()
        self._spatial = kernel.shape[:-2]
        self._kernel = kernel.reshape(-1, *kernel.shape[-2:])
        self._bias = bias[0].astype(np.float64) if bias else None

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        folded = self._foldable(constants[0])
        values = self._folded_bias(constants[0], folded)
        values[self._uses()[~folded].any(0)] = np.nan
        return np.full(len(values), np.nan) if self.mixes else _where_known(self._value, values)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        return [self._uses()[:, live].any(1) & ~self._foldable(constants[0])]

    def groups(self, groups: list[np.ndarray], fresh: Callable[[int], np.ndarray]) -> np.ndarray:
        units = self._kernel.shape[-1]
        return np.full(units, PINNED) if self.mixes else fresh(units)

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: np.ndarray,
        kept: np.ndarray,
    ) -> None:
        folded = self._foldable(constants[0])
        bias = self._folded_bias(constants[0], folded)
        self._kernel[:, folded] = 0
        self._kernel[..., ~live] = 0
        bias[~live] = 0
        self._kernel = self._kernel[:, kept_before][..., kept]
        if self._bias is not None or bias.any():
            self._bias = bias[kept]

    def config(self) -> dict:
        size = "units" if isinstance(self.layer, layers.Dense) else "filters"
        changed = {size: self._kernel.shape[-1], "use_bias": self._bias is not None}
        return {**self.layer.get_config(), **changed}

    def weights(self) -> list[np.ndarray]:
        kernel = self._kernel.reshape(*self._spatial, *self._kernel.shape[-2:])
        return [kernel] if self._bias is None else [kernel, self._bias]

    def _uses(self) -> np.ndarray:
        return (self._kernel != 0).any(0)

    def _foldable(self, constants: np.ndarray) -> np.ndarray:
        return np.equal(constants, 0) if self._padded else ~np.isnan(constants)

    def _folded_bias(self, constants: np.ndarray, folded: np.ndarray) -> np.ndarray:
        total = self._kernel[:, folded].sum(0, dtype=np.float64)
        own = np.zeros(self._kernel.shape[-1]) if self._bias is None else self._bias
        return own + constants[folded] @ total


class _Depthwise(Rule):
    """DepthwiseConv with one filter a channel: each channel for itself.

    Args:
        layer: a DepthwiseConv1D or 2D with depth_multiplier=1.
        padded: as in `_Linear`.
    """

    def __init__(self, layer: keras.layers.Layer, padded: bool):
        super().__init__(layer, layer.activation)
        self._padded = padded
        kernel, *bias = layer.get_weights()
        self._spatial = kernel.shape[:-2]
        self._kernel = kernel.reshape(-1, kernel.shape[-2])
        self._bias = bias[0].astype(np.float64) if bias else np.zeros(kernel.shape[-2])

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        unused = ~self._kernel.any(0)
        values = np.where(unused, 0, self._foldable(constants[0])) + self._bias
        return _where_known(self._value, values)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        return [live & self._kernel.any(0)]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: np.ndarray,
        kept: np.ndarray,
    ) -> None:
        self._kernel, self._bias = self._kernel[:, kept], self._bias[kept]

    def config(self) -> dict:
        return {**self.layer.get_config(), "use_bias": self.layer.use_bias}

    def weights(self) -> list[np.ndarray]:
        kernel = self._kernel.reshape(*self._spatial, -1, 1)
        return [kernel, self._bias] if self.layer.use_bias else [kernel]

    def _foldable(self, constants: np.ndarray) -> np.ndarray:
        known = np.where(constants == 0, 0, np.nan) if self._padded else constants
        return known * self._kernel.sum(0, dtype=np.float64)


class _BatchNorm(Rule):
    """BatchNormalization over the last axis, with its moving statistics."""

    def __init__(self, layer: keras.layers.BatchNormalization):
        super().__init__(layer, lambda constants: constants)
        units = layer.moving_mean.shape[0]
        values = [value.astype(np.float64) for value in layer.get_weights()]
        mean, variance = values[-2:]
        scale = values[0] if layer.scale else np.ones(units)
        shift = values[int(layer.scale)] if layer.center else np.zeros(units)
        self._kept = np.arange(units)
        self._used = scale != 0
        self._factor = scale / np.sqrt(variance + layer.epsilon)
        self._shift = shift - mean * self._factor

    def constants(self, constants: list[np.ndarray]) -> np.ndarray:
        values = np.where(self._used, constants[0] * self._factor, 0) + self._shift
        return _where_known(self._value, values)

    def live(self, live: np.ndarray, constants: list[np.ndarray]) -> list[np.ndarray]:
        return [live & self._used]

    def shrink(
        self,
        constants: list[np.ndarray],
        live: np.ndarray,
        kept_before: np.ndarray,
        kept: np.ndarray,
    ) -> None:
        for name in ("_kept", "_used", "_factor", "_shift"):
            setattr(self, name, getattr(self, name)[kept])

    def weights(self) -> list[np.ndarray]:
        return [value[self._kept] for value in self.layer.get_weights()]


class Add(Rule):
    """The sum of branches. A branch that is constant in every live unit is taken out.

    Attributes:
        branches: numbers of the inputs that are left.
        shift: what the branches taken out added to each unit.
    """

    def __init__(self, layer: keras.layers.Layer, branches: int, units: int):
        super().__init__(layer, lambda constants: constants)
        self.branches = list(range(branches))
        self.shift = np.zeros(units)

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
        kept_before: np.ndarray,
        kept: np.ndarray,
    ) -> None:
        """Drops units from the shift."""
        self.shift = self.shift[kept]


def rule_of(layer: keras.Operation, inputs: list, output: keras.KerasTensor) -> Rule | None:
    """Returns the rule of one call of a layer, or None for a barrier.

    Exact classes only: what a subclass computes is unknown.

    Args:
        layer: the layer or operation.
        inputs: the tensors it is called on.
        output: the tensor it returned.
    """
    kind = type(layer)
    units = inputs[0].shape[-1] if len(inputs[0].shape) > 1 else None
    if kind is layers.Add:
        same = all(tensor.shape == output.shape for tensor in inputs)
        return Add(layer, len(inputs), units) if same and units else None
    if len(inputs) != 1 or not units or getattr(layer, "data_format", None) == "channels_first":
        return None
    if kind is layers.Flatten and output.shape[-1]:
        return _Flatten(layer, output.shape[-1] // units)
    if kind is layers.BatchNormalization:
        last = layer.axis in (-1, len(inputs[0].shape) - 1)
        return _BatchNorm(layer) if last else None
    return _linear_rule(layer, inputs[0].shape) or _unchanged_rule(layer)


def _linear_rule(layer: keras.layers.Layer, shape: tuple[int | None, ...]) -> Rule | None:
    kind = type(layer)
    if getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None):
        return None
    if kind is layers.Dense:
        return _Linear(layer, padded=False)
    if kind in (layers.Conv1D, layers.Conv2D, layers.Conv3D) and layer.groups == 1:
        return _Linear(layer, _padded(layer, shape[1:-1]))
    depthwise = kind in (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
    if depthwise and layer.depth_multiplier == 1 and layer.activation in _ELEMENTWISE:
        return _Depthwise(layer, _padded(layer, shape[1:-1]))
    return None


def _unchanged_rule(layer: keras.layers.Layer) -> Rule | None:
    kind = type(layer)
    if kind in (layers.ReLU, layers.LeakyReLU, layers.ELU):
        return Rule(layer, layer.call)
    if kind is layers.Activation and layer.activation in _ELEMENTWISE:
        return Rule(layer, layer.activation)
    if kind in _IDENTITY or kind in _POOLING:
        return Rule(layer, lambda constants: constants)
    if kind in _ZERO_PADDING:
        return Rule(layer, lambda constants: np.where(constants == 0, 0, np.nan))
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
        if (-(-length // stride) - 1) * stride + reach > length:
            return True
    return False


def _where_known(value: Callable[[np.ndarray], np.ndarray], constants: np.ndarray) -> np.ndarray:
    """Applies a function to the known constants; what is not finite is not known."""
    known = np.flatnonzero(np.isfinite(constants))
    result = np.full(len(constants), np.nan)
    if len(known):
        values = keras.ops.convert_to_numpy(value(constants[known]))
        result[known] = np.where(np.isfinite(values), values, np.nan)
    return result
