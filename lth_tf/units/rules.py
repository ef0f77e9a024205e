"""Which rule a call of a layer has."""

import keras
import numpy as np
from keras import layers

from lth_tf.masking.layers import original_class
from lth_tf.units.linear import linear_rule
from lth_tf.units.merging import Add, Concatenate, Multiply
from lth_tf.units.normalization import BatchNorm
from lth_tf.units.rule import ELEMENTWISE, Flatten, Reshape, Rule

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
_PLACES = (
    layers.Cropping1D,
    layers.Cropping2D,
    layers.Cropping3D,
    layers.UpSampling1D,
    layers.UpSampling2D,
    layers.UpSampling3D,
)


def rule_of(layer: keras.Operation, inputs: list, output: keras.KerasTensor) -> Rule | None:
    """Returns the rule of one call of a layer, or None for a barrier.

    Exact classes only: what a subclass computes is unknown.

    Args:
        layer: the layer or operation, masked or not.
        inputs: the tensors it is called on.
        output: the tensor it returned.
    """
    kind = original_class(layer)
    units = inputs[0].shape[-1] if len(inputs[0].shape) > 1 else None
    if kind in (layers.Add, layers.Multiply, layers.Concatenate):
        return _merging_rule(layer, kind, inputs, output)
    if len(inputs) != 1 or not units or getattr(layer, "data_format", None) == "channels_first":
        return None
    if kind is layers.Flatten and output.shape[-1]:
        return Flatten(layer, output.shape[-1] // units)
    if kind is layers.Reshape and output.shape[-1] == units and _one_place(inputs[0], output):
        return Reshape(layer, units)
    if kind is layers.BatchNormalization:
        last = layer.axis in (-1, len(inputs[0].shape) - 1)
        return BatchNorm(layer) if last else None
    return linear_rule(layer, kind, inputs[0].shape) or _unchanged_rule(layer, kind)


def _merging_rule(
    layer: keras.layers.Layer, kind: type, inputs: list, output: keras.KerasTensor
) -> Rule | None:
    lengths = [tensor.shape[-1] for tensor in inputs]
    if len(output.shape) < 2 or not all(lengths):
        return None
    if kind is layers.Concatenate:
        last = layer.axis in (-1, len(output.shape) - 1)
        return Concatenate(layer, lengths) if last else None
    if kind is layers.Add:
        same = all(tensor.shape == output.shape for tensor in inputs)
        return Add(layer, len(inputs), lengths[0]) if same else None
    # Positions may be broadcast, units not.
    ranks = {len(tensor.shape) for tensor in inputs}
    return Multiply(layer) if len(set(lengths)) == len(ranks) == 1 else None


def _one_place(tensor: keras.KerasTensor, other: keras.KerasTensor) -> bool:
    """Whether there is one position in both, as between a vector and a 1x1 image."""
    return all(length == 1 for t in (tensor, other) for length in t.shape[1:-1])


def _unchanged_rule(layer: keras.layers.Layer, kind: type) -> Rule | None:
    if kind in (layers.ReLU, layers.LeakyReLU, layers.ELU):
        return Rule(layer, layer.call)
    if kind is layers.Activation and layer.activation in ELEMENTWISE:
        return Rule(layer, layer.activation)
    if kind in _IDENTITY or kind in _POOLING or kind in _PLACES:
        return Rule(layer, lambda constants: constants)
    if kind in _ZERO_PADDING:
        return Rule(layer, lambda constants: np.where(constants == 0, 0, np.nan))
    return None
