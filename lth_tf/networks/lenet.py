"""LeNet-300-100, the fully-connected network of the paper."""

import keras
from keras import layers

from lth_tf.networks import register


@register("lenet", image_shape=(28, 28, 1), takes="anything")
def lenet(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Returns LeNet-300-100: two hidden layers of ReLU units, Gaussian Glorot.

    266,200 weights and 410 biases on 28x28x1 images with 10 classes.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 2; LeCun et al. 1998.
    """

    def dense(units: int, name: str, activation: str | None = "relu") -> layers.Dense:
        return layers.Dense(
            units, activation=activation, kernel_initializer="glorot_normal", name=name
        )

    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Flatten(name="flatten"),
            dense(300, "fc1"),
            dense(100, "fc2"),
            dense(classes, "output", activation=None),
        ],
        name="lenet",
    )
