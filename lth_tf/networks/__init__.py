"""The networks of the paper and some others, each a plain Keras model in a file of its own.

A network is a function `(input_shape, classes) -> keras.Model` that returns
logits; one with dropout takes `dropout_rate` as well. What is pruned by which rate:

* layers whose name contains "shortcut" are never pruned,
* the last layer is the group output,
* other convolutions are the group conv, and what is left is the group fc.
"""

import inspect
from collections.abc import Callable

import keras

from lth_tf.config import NETWORKS
from lth_tf.errors import UsageError
from lth_tf.keras_internals import names_from_start
from lth_tf.masking.groups import weight_groups
from lth_tf.masking.model import mask_model

# Network -> shape of the inputs it is made for, and what it takes.
_MADE_FOR: dict[Callable[..., keras.Model], tuple[tuple[int, ...], str]] = {}


def register(
    name: str, image_shape: tuple[int, ...], takes: str = "images"
) -> Callable[[Callable[..., keras.Model]], Callable[..., keras.Model]]:
    """Returns a decorator that registers a network.

    Args:
        name: what `--network` calls it.
        image_shape: height, width and channels of the images the paper trains
            it on; small data sets such as digits are resized to it. Of other inputs their shape.
        takes: "images", "tokens" (whole numbers [length]), or "anything": it flattens its inputs.
    """

    def decorate(build: Callable[..., keras.Model]) -> Callable[..., keras.Model]:
        _MADE_FOR[build] = image_shape, takes
        return NETWORKS.register(name)(build)

    return decorate


def image_shape(name: str) -> tuple[int, ...]:
    """Returns height, width and channels of the images a network is made for, or another shape.

    Raises:
        UsageError: if there is no such network.
    """
    return _MADE_FOR[NETWORKS.get(name)][0]


def takes(name: str) -> str:
    """Returns what a network takes: "images", "tokens" or "anything"; of own functions the last.

    Raises:
        UsageError: if there is no such network.
    """
    return _MADE_FOR.get(NETWORKS.get(name), ((), "anything"))[1]


def build(
    name: str, input_shape: tuple[int, ...], classes: int, seed: int, dropout_rate: float = 0.0
) -> keras.Model:
    """Returns a masked network at its random initialization.

    Sets the random seeds of Python, numpy and TensorFlow.

    Args:
        name: a registered network.
        input_shape: height, width and channels of an image.
        classes: number of classes.
        seed: seed of the initialization; the same seed gives the same weights.
        dropout_rate: given to networks that take one.

    Raises:
        UsageError: if there is no such network, or it has no dropout and the
            rate is not 0.
    """
    network = NETWORKS.get(name)
    options = {}
    if "dropout_rate" in inspect.signature(network).parameters:
        options["dropout_rate"] = dropout_rate
    elif dropout_rate:
        raise UsageError(
            f"Expected dropout_rate=0: the network {name!r} has no dropout. "
            f"Received: dropout_rate={dropout_rate}."
        )
    keras.utils.set_random_seed(seed)
    # Files are keyed by the names of layers, which the next building must find again.
    with names_from_start():
        return mask_model(network(input_shape, classes, **options))


def groups(model: keras.Model) -> dict[str, str]:
    """Returns weight path -> group (conv, fc, output or unpruned) of a masked network.

    Example:
    >>> model = build("lenet", (28, 28, 1), classes=10, seed=0)
    >>> groups(model)
    {'fc1/kernel': 'fc', 'fc2/kernel': 'fc', 'output/kernel': 'output'}
    """
    return {
        path: "unpruned" if "shortcut" in path.rpartition("/")[0] else group
        for path, group in weight_groups(model).items()
    }
