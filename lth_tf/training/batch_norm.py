"""How batch normalization is computed and differentiated while networks are trained.

Keras's layers stay what they are, in files too: their `call` is replaced while a function is
traced.
"""

import contextlib
import functools
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from lth_tf.masking.layers import layers_of


@contextlib.contextmanager
def normalizing_by(model: keras.Model, way: str) -> Iterator[None]:
    """Lets the batch normalizations of a model be computed in a way while a function is traced.

    Of batch statistics only; what else the layers do, and layers that are more than Keras's
    (subclasses with a `call` of their own, renormalization, statistics over several devices),
    stays Keras's.

    Args:
        model: any Keras model.
        way: "exact": what Keras computes, and the gradient in closed form (Ioffe & Szegedy 2015,
            arXiv:1502.03167, section 3) in place of that of every operation. "fused":
            TensorFlow's kernel, for float32 and half-precision images [batch, height, width,
            channels]; about six times the rounding errors of the exact gradient.
    """
    layers = [layer for layer in layers_of(model) if _is_plain(layer)]
    try:
        for layer in layers:
            layer.call = functools.partial(_call, layer, type(layer).call, way)
        yield
    finally:
        for layer in layers:
            del layer.call


def _is_plain(layer: keras.layers.Layer) -> bool:
    return (
        isinstance(layer, keras.layers.BatchNormalization)
        and type(layer).call is keras.layers.BatchNormalization.call
        and not layer.renorm
        and not layer.synchronized
    )


def _call(
    layer: Any,
    keras_call: Callable,
    way: str,
    inputs: tf.Tensor,
    training: bool | None = None,
    mask: tf.Tensor | None = None,
) -> tf.Tensor:
    rank = inputs.shape.rank
    if not training or not layer.trainable or mask is not None or layer.axis not in (-1, rank - 1):
        return keras_call(layer, inputs, training=training, mask=mask)
    dtype = keras.backend.result_type(inputs.dtype, "float32")
    channels = inputs.shape[-1]
    gamma = keras.ops.cast(layer.gamma, dtype) if layer.scale else tf.ones([channels], dtype)
    beta = keras.ops.cast(layer.beta, dtype) if layer.center else tf.zeros([channels], dtype)
    if way == "fused" and rank == 4 and dtype == "float32":
        outputs, mean, variance = _fused(inputs, gamma, beta, layer.epsilon)
    else:
        inputs = keras.ops.cast(inputs, dtype)
        outputs, mean, variance = _closed_form(inputs, gamma, beta, layer.epsilon)
    for moving, new in ((layer.moving_mean, mean), (layer.moving_variance, variance)):
        kept = keras.ops.cast(moving, dtype) * layer.momentum
        moving.assign(kept + new * (1 - layer.momentum))
    return keras.ops.cast(outputs, layer.compute_dtype)


def _closed_form(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns normalized inputs, their mean and variance; only the first has gradients."""
    axes = list(range(inputs.shape.rank - 1))

    @tf.custom_gradient
    def normalize(inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor) -> tuple:
        mean = tf.reduce_mean(inputs, axes)
        centred = inputs - mean
        variance = tf.reduce_mean(tf.square(centred), axes)
        inverse = tf.math.rsqrt(variance + epsilon)
        scale = gamma * inverse

        def gradient(upstream: tf.Tensor, *_: tf.Tensor) -> tuple:
            count = tf.cast(tf.size(inputs) // tf.size(mean), inputs.dtype)
            of_beta = tf.reduce_sum(upstream, axes)
            along = tf.reduce_sum(upstream * centred, axes)
            slope = along * tf.square(inverse) / count
            of_inputs = scale * (upstream - centred * slope - of_beta / count)
            return of_inputs, along * inverse, of_beta

        return (centred * scale + beta, mean, variance), gradient

    return normalize(inputs, gamma, beta)


def _fused(
    inputs: tf.Tensor, gamma: tf.Tensor, beta: tf.Tensor, epsilon: float
) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """Returns what `_closed_form` does, from one kernel."""
    outputs, mean, variance = tf.compat.v1.nn.fused_batch_norm(
        inputs, gamma, beta, epsilon=epsilon, is_training=True
    )
    # Keras's moving variance is that of the batch, the kernel's an estimate of the population's.
    count = tf.cast(tf.size(inputs) // tf.size(mean), variance.dtype)
    return outputs, mean, variance * (1 - 1 / count)
