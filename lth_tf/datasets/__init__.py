"""Examples as arrays in memory: images, tables, sequences.

`from_arrays` takes the caller's own; `load` knows the data sets registered by files of
this package; any other name is looked up in TensorFlow Datasets.
"""

import pathlib

from lth_tf.backend import require_tensorflow
from lth_tf.datasets.arrays import from_arrays
from lth_tf.datasets.base import Data, Preprocessing, Source, Split
from lth_tf.lazy import lazy_imports
from lth_tf.registry import Registry

with lazy_imports():
    # By another name: the module itself is an attribute of this package too.
    from lth_tf.datasets import tfds as any_of_tfds

__all__ = [
    "DATASETS",
    "Data",
    "Preprocessing",
    "Source",
    "Split",
    "from_arrays",
    "load",
    "register",
]

DATASETS = Registry("dataset", package=__name__)
register = DATASETS.register


def load(
    name: str,
    *,
    image_shape: tuple[int, ...],
    validation_size: int | None = None,
    seed: int = 0,
    data_dir: str = "",
    cache_dir: str | pathlib.Path | None = None,
) -> Data:
    """Loads a data set and takes the validation examples out of its training set.

    Args:
        name: one of `DATASETS`, e.g. "digits", or the name of a TFDS image classification set.
        image_shape: shape of the network's inputs: height, width and channels of images, or
            the length of a sequence; only data sets that are registered here come in it.
        validation_size: examples for validation; None is the data set's own number.
        seed: decides which examples are for validation.
        data_dir: TFDS folder; "" is TFDS's own choice.
        cache_dir: where decoded arrays are kept for the next time, or None.

    Raises:
        UsageError: if there is no such data set, it cannot be had, or it has no
            more than `validation_size` examples.
    """
    require_tensorflow("lth_tf.datasets.load")
    if name in DATASETS.names():
        source = DATASETS.get(name)(image_shape)
    else:
        source = any_of_tfds.load(name, data_dir=data_dir, cache_dir=cache_dir)
    return source.data(name, seed, validation_size)
