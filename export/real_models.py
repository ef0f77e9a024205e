"""Networks that people deploy, built by name with random weights, for `export.benchmark`.

Sizes, speeds and differences do not depend on training; accuracies would.
"""

from collections.abc import Callable

import keras
import numpy as np
from keras import layers

from lth_tf.errors import UsageError
from lth_tf.keras_internals import all_layers


def build(name: str) -> tuple[keras.Model, np.ndarray]:
    """Returns a model and examples that it takes, [16, ...].

    Raises:
        UsageError: if there is no such model.
    """
    if name not in MODELS:
        raise UsageError(f"Expected models out of {', '.join(MODELS)}. Received: {name!r}.")
    keras.utils.set_random_seed(0)
    model = MODELS[name]()
    (inputs,) = model.inputs
    shape, generator = (16, *inputs.shape[1:]), np.random.default_rng(0)
    if inputs.dtype.startswith("int"):
        return model, generator.integers(0, _WORDS, shape).astype(inputs.dtype)
    largest = 255 if name in _OF_KERAS else 1
    return model, largest * generator.random(shape, dtype=np.float32)


def prune(model: keras.Model, remaining: float) -> keras.Model:
    """Keeps the largest weights of each kernel, in place.

    Args:
        model: any model.
        remaining: percentage to keep.
    """
    for weight in model.trainable_variables:
        if len(weight.shape) < 2 or weight.name.endswith(("bias", "gamma", "beta")):
            continue
        array = np.asarray(weight)
        order = np.argsort(-np.abs(array), axis=None)
        array.flat[order[round(array.size * remaining / 100) :]] = 0
        weight.assign(array)
    return model


_WORDS = 20_000
_OF_KERAS = ("mobilenet_v2", "efficientnet_b0", "resnet50")


def settle(model: keras.Model, examples: np.ndarray) -> None:
    """Gives batch normalization the statistics of examples, in place.

    With those of other weights the outputs of a deep network would be next to constant.
    """
    found = [part for part in all_layers(model) if isinstance(part, layers.BatchNormalization)]
    before = [layer.momentum for layer in found]
    for layer in found:
        layer.momentum = 0.0
    model(examples, training=True)
    for layer, momentum in zip(found, before, strict=True):
        layer.momentum = momentum


def _vit() -> keras.Model:
    """ViT-Tiny: patches of 16, 192 features, 12 blocks of 3 heads."""
    inputs = keras.Input((224, 224, 3))
    tokens = layers.Reshape((196, 192))(layers.Conv2D(192, 16, strides=16)(inputs))
    places = layers.Embedding(196, 192)(keras.ops.arange(196)[None])
    tokens = tokens + places
    for _ in range(12):
        normal = layers.LayerNormalization()(tokens)
        tokens = tokens + layers.MultiHeadAttention(3, 64)(normal, normal)
        normal = layers.LayerNormalization()(tokens)
        tokens = tokens + layers.Dense(192)(layers.Dense(768, "gelu")(normal))
    pooled = layers.GlobalAveragePooling1D()(layers.LayerNormalization()(tokens))
    return keras.Model(inputs, layers.Dense(1000)(pooled))


def _lstm() -> keras.Model:
    """A text classifier."""
    return keras.Sequential(
        [
            keras.Input((100,), dtype="int32"),
            layers.Embedding(_WORDS, 128),
            layers.LSTM(128),
            layers.Dense(1, "sigmoid"),
        ]
    )


def _unet() -> keras.Model:
    """Segmentation of 128 x 128 pixels, 32 to 256 channels."""

    def two(tensor: keras.KerasTensor, filters: int) -> keras.KerasTensor:
        for _ in range(2):
            tensor = layers.Conv2D(filters, 3, padding="same", activation="relu")(tensor)
        return tensor

    inputs = tensor = keras.Input((128, 128, 3))
    kept = []
    for filters in (32, 64, 128):
        kept.append(two(tensor, filters))
        tensor = layers.MaxPooling2D()(kept[-1])
    tensor = two(tensor, 256)
    for filters, beside in zip((128, 64, 32), reversed(kept), strict=True):
        tensor = layers.Conv2DTranspose(filters, 2, strides=2)(tensor)
        tensor = two(layers.Concatenate()([beside, tensor]), filters)
    return keras.Model(inputs, layers.Conv2D(1, 1, activation="sigmoid")(tensor))


def _audio() -> keras.Model:
    """Keywords in one second of sound."""
    inputs = tensor = keras.Input((16_000, 1))
    for filters in (64, 128, 256, 256):
        tensor = layers.Conv1D(filters, 9, strides=4, activation="relu")(tensor)
        tensor = layers.BatchNormalization()(tensor)
    return keras.Model(inputs, layers.Dense(35)(layers.GlobalAveragePooling1D()(tensor)))


def _autoencoder() -> keras.Model:
    """Of images of digits."""
    options = {"padding": "same", "activation": "relu"}
    return keras.Sequential(
        [
            keras.Input((28, 28, 1)),
            layers.Conv2D(32, 3, strides=2, **options),
            layers.Conv2D(64, 3, strides=2, **options),
            layers.Conv2DTranspose(64, 3, strides=2, **options),
            layers.Conv2DTranspose(32, 3, strides=2, **options),
            layers.Conv2D(1, 3, padding="same"),
        ]
    )


def _of_keras(name: str) -> Callable[[], keras.Model]:
    return lambda: getattr(keras.applications, name)(weights=None, classifier_activation=None)


MODELS: dict[str, Callable[[], keras.Model]] = {
    "mobilenet_v2": _of_keras("MobileNetV2"),
    "efficientnet_b0": _of_keras("EfficientNetB0"),
    "resnet50": _of_keras("ResNet50"),
    "vit": _vit,
    "lstm": _lstm,
    "unet": _unet,
    "audio": _audio,
    "autoencoder": _autoencoder,
}
"""Name -> a function that builds it."""
