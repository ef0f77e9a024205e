"""The convolution, batch normalization, ReLU that ResNet and VGG are made of."""

import keras
from keras import layers


def convolution(
    tensor: keras.KerasTensor,
    filters: int,
    name: str,
    *,
    size: int = 3,
    strides: int = 1,
    relu: bool = True,
) -> keras.KerasTensor:
    """Applies a convolution without bias, batch normalization and, if asked, ReLU.

    The moving statistics keep nine tenths of their value an iteration, as in
    PyTorch's default: a few hundred iterations are enough for them to be useful.

    Args:
        tensor: [batch, height, width, channels].
        filters: channels of the result.
        name: name of the convolution; the other layers' names begin with it.
        size: height and width of the kernel.
        strides: of the convolution.
        relu: whether ReLU follows.
    """
    tensor = layers.Conv2D(
        filters,
        size,
        strides=strides,
        padding="same",
        use_bias=False,
        kernel_initializer="glorot_normal",
        name=name,
    )(tensor)
    tensor = layers.BatchNormalization(momentum=0.9, epsilon=1e-5, name=f"{name}_bn")(tensor)
    return layers.ReLU(name=f"{name}_relu")(tensor) if relu else tensor


def classifier(tensor: keras.KerasTensor, classes: int) -> keras.KerasTensor:
    """Averages over all positions and returns the logits of a dense layer."""
    tensor = layers.GlobalAveragePooling2D(name="average_pool")(tensor)
    return layers.Dense(classes, kernel_initializer="glorot_normal", name="output")(tensor)
