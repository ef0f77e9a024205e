"""VGG-19 adapted to CIFAR-10."""

import keras
from keras import layers

from lth_tf.networks import register
from lth_tf.networks.batch_norm import classifier, convolution

_GROUPS = ((64, 2), (128, 2), (256, 4), (512, 4), (512, 4))


@register("vgg19", image_shape=(32, 32, 3))
def vgg19(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Returns VGG-19 with batch normalization and one dense layer.

    20,024,000 weights: 20,018,880 in convolutions and 5,120 in the output layer,
    which is not pruned.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 2 and section 4; Simonyan &
        Zisserman 2014, arXiv:1409.1556.
    """
    inputs = tensor = keras.Input(input_shape)
    for group, (filters, depth) in enumerate(_GROUPS, 1):
        for part in range(1, depth + 1):
            tensor = convolution(tensor, filters, f"conv{group}_{part}")
        if group < len(_GROUPS):
            tensor = layers.MaxPooling2D(name=f"pool{group}")(tensor)
    return keras.Model(inputs, classifier(tensor, classes), name="vgg19")
