"""A network and data on which every method takes a second."""

import functools

import keras
from keras import layers
from sklearn.datasets import load_digits

from lth_tf.config import METHODS, ExperimentConfig
from lth_tf.datasets import from_arrays


def dense(input_shape, classes):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(24, "relu", name="fc1"),
            layers.Dense(classes, name="output"),
        ]
    )


def convolutions(input_shape, classes):
    """With what a residual network has: normalization, and a shortcut that is not pruned."""
    inputs = keras.Input(input_shape)
    tensor = layers.Reshape((8, 8, 1))(inputs)
    shortcut = layers.Conv2D(4, 1, name="shortcut")(tensor)
    tensor = layers.Conv2D(4, 3, padding="same", use_bias=False, name="conv1")(tensor)
    tensor = layers.BatchNormalization(name="conv1_bn")(tensor)
    tensor = layers.ReLU()(layers.Add()([tensor, shortcut]))
    tensor = layers.GlobalAveragePooling2D()(tensor)
    return keras.Model(inputs, layers.Dense(classes, name="output")(tensor))


@functools.cache
def data():
    x, y = load_digits(return_X_y=True)
    return from_arrays((x / 16)[:600], y[:600])


CONFIG = ExperimentConfig(
    network=dense,
    iterations=12,
    batch_size=20,
    eval_interval=2,
    test_interval=0,
    learning_rate=0.01,
    levels=1,
    prune_rate_conv=0.2,
)
# What makes so short a training go through all that a method does.
OPTIONS = {
    "gradual": {"prune_begin": 0.2, "prune_end": 0.9, "prune_frequency": 2},
    "rigl": {"exchange_interval": 2},
    "set": {"exchange_interval": 2},
    "concrete_search": {"search_length": 0.5},
    "late_rewinding": {"rewind_iteration": 4},
}


def config_of(method, **changes):
    config = CONFIG.replace(method=method, **OPTIONS.get(method, {}))
    if hasattr(config.method, "final_density"):
        config = config.replace(final_density=(0.3,))
    return config.replace(**changes)


# A method of other runs has tests of its own.
METHOD_NAMES = [name for name in METHODS.names() if name != "retrain"]
