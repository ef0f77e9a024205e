"""The paper's "Resnet-18": the 20-layer residual network for CIFAR-10."""

import keras
from keras import layers

from lth_tf.networks import register
from lth_tf.networks.batch_norm import classifier, convolution


@register("resnet18", image_shape=(32, 32, 3))
def resnet18(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Returns the 20-layer residual network with projection shortcuts.

    270,896 weights: 267,696 in 3x3 convolutions, 2,560 in shortcuts and 640 in the
    output layer; the last two are not pruned.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 2 and section 4; He et al.
        2016, arXiv:1512.03385, section 4.2.
    """
    inputs = keras.Input(input_shape)
    tensor = convolution(inputs, 16, "conv1")
    for stage, filters in enumerate((16, 32, 64), 1):
        for block in (1, 2, 3):
            strides = 2 if stage > 1 and block == 1 else 1
            tensor = _block(tensor, filters, strides, f"stage{stage}_block{block}")
    return keras.Model(inputs, classifier(tensor, classes), name="resnet18")


def _block(tensor: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    shortcut = tensor
    if strides > 1:
        shortcut = convolution(
            tensor, filters, f"{name}_shortcut", size=1, strides=strides, relu=False
        )
    tensor = convolution(tensor, filters, f"{name}_conv1", strides=strides)
    tensor = convolution(tensor, filters, f"{name}_conv2", relu=False)
    tensor = layers.Add(name=f"{name}_add")([tensor, shortcut])
    return layers.ReLU(name=f"{name}_relu")(tensor)
