"""Examples: images, tables, sequences, in memory or streamed from where they are.

`from_arrays` takes the caller's own arrays, `from_datasets` what makes a `tf.data.Dataset`;
`load` knows the data sets registered by files of this package; any other name is looked up in
TensorFlow Datasets.
"""

import inspect
import pathlib

from lth_tf.backend import require_tensorflow
from lth_tf.datasets.arrays import from_arrays
from lth_tf.datasets.base import Data, Preprocessing, Source
from lth_tf.datasets.passes import from_datasets
from lth_tf.datasets.split import Split
from lth_tf.lazy import lazy_imports
from lth_tf.registry import Registry

with lazy_imports():
    # By another name: the module itself is an attribute of this package too.
    from lth_tf.datasets import records
    from lth_tf.datasets import tfds as any_of_tfds

__all__ = [
    "DATASETS",
    "Data",
    "Preprocessing",
    "Source",
    "Split",
    "from_arrays",
    "from_datasets",
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
    stream: bool = False,
) -> Data:
    """Loads a data set and takes the validation examples out of its training set.

    Args:
        name: one of `DATASETS`, e.g. "digits", or the name of a TFDS image classification set.
        image_shape: shape of the network's inputs: height, width and channels of images, or
            the length of a sequence; only data sets that are registered here come in it.
        validation_size: examples for validation; None is the data set's own number.
        seed: decides which examples are for validation.
        data_dir: TFDS folder, "" is TFDS's own choice; of the data set "folder" the folder.
        cache_dir: where decoded arrays are kept for the next time, or None.
        stream: leave examples where they are and read them when they are needed.

    Raises:
        UsageError: if there is no such data set, it cannot be had, or it has no
            more than `validation_size` examples.
    """
    require_tensorflow("lth_tf.datasets.load")
    if name in DATASETS.names():
        make = DATASETS.get(name)
        place = {"data_dir": data_dir} if "data_dir" in inspect.signature(make).parameters else {}
        source = make(image_shape, **place)
    elif stream:
        source = records.load(name, image_shape, data_dir=data_dir)
    else:
        source = any_of_tfds.load(name, data_dir=data_dir, cache_dir=cache_dir)
    data = source.data(name, seed, validation_size)
    return data.streamed() if stream else data.in_memory()
