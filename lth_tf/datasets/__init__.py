"""Image classification data as uint8 arrays in memory.

`load` knows the data sets registered by files of this package; any other name is
looked up in TensorFlow Datasets.
"""

import dataclasses
import pathlib

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.registry import Registry
from lth_tf.seeding import generator

DATASETS = Registry("dataset", package=__name__)
register = DATASETS.register


@dataclasses.dataclass(frozen=True)
class Split:
    """Images uint8 [examples, height, width, channels] and labels int32 [examples]."""

    images: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set as it is published: what a file of this package returns.

    Attributes:
        train: all training examples; the validation examples come out of them.
        test: test examples.
        classes: number of classes.
        validation_size: examples to set aside for validation if nothing else is
            asked for.
    """

    train: Split
    test: Split
    classes: int
    validation_size: int


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready to train on.

    Attributes:
        name: what `--dataset` calls it.
        train: training examples.
        validation: examples taken out of the published training set; they alone
            decide the early-stop iteration.
        test: test examples.
        classes: number of classes.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int

    @property
    def image_shape(self) -> tuple[int, int, int]:
        """Height, width and channels of an image."""
        return tuple(self.train.images.shape[1:])


def load(
    name: str,
    *,
    image_shape: tuple[int, int, int],
    validation_size: int | None = None,
    seed: int = 0,
    data_dir: str = "",
    cache_dir: str | pathlib.Path | None = None,
) -> Data:
    """Loads a data set and takes the validation examples out of its training set.

    Args:
        name: "digits", or the name of a TFDS image classification set.
        image_shape: height, width and channels of the network's images; only data
            sets that are registered here are resized to it.
        validation_size: examples for validation; None is the data set's own number.
        seed: decides which examples are for validation.
        data_dir: TFDS folder; "" is TFDS's own choice.
        cache_dir: where decoded arrays are kept for the next time, or None.

    Raises:
        UsageError: if there is no such data set, it cannot be had, or it has no
            more than `validation_size` examples.
    """
    from lth_tf.datasets import tfds

    if name in DATASETS.names():
        source = DATASETS.get(name)(image_shape)
    else:
        source = tfds.load(name, data_dir=data_dir, cache_dir=cache_dir)
    size = source.validation_size if validation_size is None else validation_size
    if size >= len(source.train):
        raise UsageError(
            f"Expected validation_size below the {len(source.train)} training examples of "
            f"{name!r}. Received: validation_size={size}."
        )
    order = generator(seed, "split").permutation(len(source.train))
    validation, train = np.sort(order[:size]), np.sort(order[size:])
    return Data(
        name=name,
        train=_take(source.train, train),
        validation=_take(source.train, validation),
        test=source.test,
        classes=source.classes,
    )


def _take(split: Split, indices: np.ndarray) -> Split:
    return Split(split.images[indices], split.labels[indices])
