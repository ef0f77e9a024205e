"""A multilayer perceptron for tables."""

import keras
from keras import layers

from lth_tf.networks import register


@register("mlp", image_shape=(30,), takes="anything")
def mlp(input_shape: tuple[int, ...], classes: int, dropout_rate: float = 0.0) -> keras.Model:
    """Returns three hidden layers of 128 ReLU units: 36,864 weights on 30 columns and 2 classes.

    Inputs of any shape are flattened.
    """
    stack = [keras.Input(input_shape), layers.Flatten(name="flatten")]
    for number in (1, 2, 3):
        stack.append(_dense(128, "relu", f"fc{number}"))
        if dropout_rate:
            stack.append(layers.Dropout(dropout_rate, name=f"dropout{number}"))
    stack.append(_dense(classes, None, "output"))
    return keras.Sequential(stack, name="mlp")


def _dense(units: int, activation: str | None, name: str) -> layers.Dense:
    return layers.Dense(units, activation, kernel_initializer="glorot_normal", name=name)
