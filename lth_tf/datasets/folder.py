"""A folder of images, one folder a class, as most image sets of one's own are kept."""

import os
import pathlib
import zlib

import numpy as np
import tensorflow as tf

from lth_tf.datasets import Source, register
from lth_tf.datasets.preprocessing import decode_cropped
from lth_tf.datasets.streamed import Batch, Indexed
from lth_tf.errors import UsageError
from lth_tf.seeding import generator

_ENDINGS = (".jpg", ".jpeg", ".png", ".bmp")
_TESTS = ("test", "validation", "val")
_LARGEST_VALIDATION = 5_000


class ImageFiles:
    """Image files and their classes, brought to one size.

    Args:
        files: paths.
        labels: int32 [files].
        image_shape: height, width and channels of the result.
    """

    dtype: np.dtype = np.dtype(np.uint8)
    label_shape: tuple[int, ...] = ()
    varied = True

    def __init__(self, files: list[str], labels: np.ndarray, image_shape: tuple[int, ...]):
        self._files, self._labels = files, labels
        self._paths = tf.constant(files)
        self.input_shape = image_shape

    def __len__(self) -> int:
        return len(self._files)

    def example(self, index: tf.Tensor, seed: tf.Tensor | None) -> Batch:
        """Returns an image, see `decode_cropped`, and its class."""
        encoded = tf.io.read_file(tf.gather(self._paths, index))
        return decode_cropped(encoded, self.input_shape, seed), self.label(index)

    def label(self, index: tf.Tensor) -> tf.Tensor:
        """Returns the class."""
        return tf.gather(tf.constant(self._labels), index)

    def name(self, index: int) -> str:
        """Returns the path."""
        return self._files[index]

    def fingerprints(self, indices: np.ndarray) -> np.ndarray:
        """Returns classes, sizes and checksums of names; contents are not read."""
        chosen = [(self._files[i], self._labels[i]) for i in indices]
        return np.array(
            [
                (label, os.path.getsize(f), zlib.crc32("/".join(f.split(os.sep)[-2:]).encode()))
                for f, label in chosen
            ],
            np.int64,
        )


@register("folder")
def folder(image_shape: tuple[int, ...], data_dir: str) -> Source:
    """Returns the images below a folder: JPEG, PNG or BMP of any size.

    The folder holds `train/CLASS/*` and `test/CLASS/*` (or `validation`, `val`), or `CLASS/*`
    alone, of which a tenth is for testing then. Evaluated is the middle of an image, 7/8 of its
    shorter side. `augment` of streamed images is that of ImageNet: a part of 8 to 100 % of the
    area with sides of 3:4 to 4:3, brought to size, flipped at random. In memory images are of
    one size already and are padded and cropped like others.

    Args:
        image_shape: height, width and channels of the network's inputs.
        data_dir: the folder.

    Raises:
        UsageError: if there are no such images.

    Source:
        Szegedy et al. 2015, arXiv:1409.4842, section 6 (the parts); Krizhevsky et al. 2012,
        section 4.1 (the middle).
    """
    root = pathlib.Path(data_dir).expanduser()
    if not data_dir or not root.is_dir():
        raise UsageError(
            f"Expected a folder of images, one folder a class, as data_dir. "
            f"Received: data_dir={data_dir!r}.",
            arguments=("data_dir",),
        )
    train = root / "train" if (root / "train").is_dir() else root
    classes = sorted(entry.name for entry in os.scandir(train) if entry.is_dir())
    found = _images(train, classes, image_shape)
    tests = [root / name for name in _TESTS if (root / name).is_dir()] if train != root else []
    order = generator(0, "split", "test").permutation(len(found))
    tenth = max(1, len(found) // 10)
    test = (
        Indexed(_images(tests[0], classes, image_shape))
        if tests
        else Indexed(found, np.sort(order[:tenth]))
    )
    chosen = Indexed(found) if tests else Indexed(found, np.sort(order[tenth:]))
    return Source(
        chosen,
        test,
        classes=len(classes),
        validation_size=max(1, min(_LARGEST_VALIDATION, len(chosen) // 10)),
    )


def _images(root: pathlib.Path, classes: list[str], image_shape: tuple[int, ...]) -> ImageFiles:
    files, labels = [], []
    for label, name in enumerate(classes):
        inside = root / name
        names = sorted(os.listdir(inside)) if inside.is_dir() else []
        chosen = [n for n in names if n.lower().endswith(_ENDINGS)]
        files += [str(inside / n) for n in chosen]
        labels += [label] * len(chosen)
    if len(files) < 2:
        raise UsageError(
            f"Expected images ({', '.join(_ENDINGS)}) in {root}/CLASS/. Received: {len(files)} of "
            f"{len(classes)} classes.",
            arguments=("data_dir",),
        )
    return ImageFiles(files, np.array(labels, np.int32), image_shape)
