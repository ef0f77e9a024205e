"""The type that a network computes in, beside float32 weights, masks and optimizer."""

import contextlib
from collections.abc import Iterator

import keras

from lth_tf.masking.layers import layers_of


@contextlib.contextmanager
def computing_in(model: keras.Model, precision: str) -> Iterator[None]:
    """Lets the layers of a model compute in a precision while a function is traced.

    Variables keep their types, and so does everything outside the block.

    Args:
        model: any Keras model; "float32" leaves its layers as they are.
        precision: Keras's name of a dtype policy whose variables are float32.
    """
    layers = layers_of(model) if precision != "float32" else []
    policies = [layer.dtype_policy for layer in layers]
    try:
        for layer in layers:
            layer.dtype_policy = precision
        yield
    finally:
        for layer, policy in zip(layers, policies, strict=True):
            layer.dtype_policy = policy
