"""Conv-2, Conv-4 and Conv-6: small variants of VGG."""

import keras
from keras import layers

from lth_tf.networks import register

_IMAGE_SHAPE = (32, 32, 3)


@register("conv2", image_shape=_IMAGE_SHAPE)
def conv2(input_shape: tuple[int, ...], classes: int, dropout_rate: float = 0.0) -> keras.Model:
    """Returns Conv-2: 4,300,992 weights on CIFAR-10, 38,592 of them in convolutions.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 2.
    """
    return _conv("conv2", (64,), input_shape, classes, dropout_rate)


@register("conv4", image_shape=_IMAGE_SHAPE)
def conv4(input_shape: tuple[int, ...], classes: int, dropout_rate: float = 0.0) -> keras.Model:
    """Returns Conv-4: 2,425,024 weights on CIFAR-10, 259,776 of them in convolutions.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 2.
    """
    return _conv("conv4", (64, 128), input_shape, classes, dropout_rate)


@register("conv6", image_shape=_IMAGE_SHAPE)
def conv6(input_shape: tuple[int, ...], classes: int, dropout_rate: float = 0.0) -> keras.Model:
    """Returns Conv-6: 2,261,184 weights on CIFAR-10, 1,144,512 of them in convolutions.

    The paper prints 1.7M weights for it, which its printed layers do not have;
    the layers are built as printed.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 2.
    """
    return _conv("conv6", (64, 128, 256), input_shape, classes, dropout_rate)


def _conv(
    name: str,
    filters: tuple[int, ...],
    input_shape: tuple[int, ...],
    classes: int,
    dropout_rate: float,
) -> keras.Model:
    """Pairs of 3x3 convolutions, each with a max-pool, then layers of 256, 256 and classes."""
    stack = [keras.Input(input_shape)]
    for block, width in enumerate(filters, 1):
        for part in (1, 2):
            stack.append(
                layers.Conv2D(
                    width,
                    3,
                    padding="same",
                    activation="relu",
                    kernel_initializer="glorot_normal",
                    name=f"conv{block}_{part}",
                )
            )
        stack.append(layers.MaxPooling2D(name=f"pool{block}"))
    stack.append(layers.Flatten(name="flatten"))
    for units, activation, layer in (
        (256, "relu", "fc1"),
        (256, "relu", "fc2"),
        (classes, None, "output"),
    ):
        if dropout_rate:
            stack.append(layers.Dropout(dropout_rate, name=f"dropout_{layer}"))
        stack.append(
            layers.Dense(
                units, activation=activation, kernel_initializer="glorot_normal", name=layer
            )
        )
    return keras.Sequential(stack, name=name)
