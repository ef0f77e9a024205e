"""ResNet-50 for images of 224 x 224 pixels."""

import keras
from keras import layers

from lth_tf.networks import register
from lth_tf.networks.batch_norm import classifier, convolution


@register("resnet50", image_shape=(224, 224, 3))
def resnet50(input_shape: tuple[int, ...], classes: int) -> keras.Model:
    """Returns the 50-layer residual network, whose strides are those of the 3x3 convolutions.

    25,502,912 weights in kernels for 1,000 classes: 20,686,016 in the convolutions outside of
    shortcuts, 2,768,896 in shortcuts, which are not pruned, and 2,048,000 in the output layer.

    Source:
        He et al. 2016, arXiv:1512.03385, table 1; the strides as in torchvision ("v1.5").
    """
    inputs = keras.Input(input_shape)
    tensor = convolution(inputs, 64, "conv1", size=7, strides=2)
    tensor = layers.MaxPooling2D(3, 2, padding="same", name="pool1")(tensor)
    for stage, (filters, blocks) in enumerate(((64, 3), (128, 4), (256, 6), (512, 3)), 1):
        for block in range(1, blocks + 1):
            strides = 2 if stage > 1 and block == 1 else 1
            tensor = _block(tensor, filters, strides, f"stage{stage}_block{block}")
    return keras.Model(inputs, classifier(tensor, classes), name="resnet50")


def _block(tensor: keras.KerasTensor, filters: int, strides: int, name: str) -> keras.KerasTensor:
    shortcut = tensor
    if tensor.shape[-1] != 4 * filters:
        shortcut = convolution(
            tensor, 4 * filters, f"{name}_shortcut", size=1, strides=strides, relu=False
        )
    tensor = convolution(tensor, filters, f"{name}_conv1", size=1)
    tensor = convolution(tensor, filters, f"{name}_conv2", strides=strides)
    tensor = convolution(tensor, 4 * filters, f"{name}_conv3", size=1, relu=False)
    tensor = layers.Add(name=f"{name}_add")([tensor, shortcut])
    return layers.ReLU(name=f"{name}_relu")(tensor)
