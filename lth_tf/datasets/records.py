"""Any image classification set of TensorFlow Datasets, read record by record where it lies."""

import os
from typing import Any

import numpy as np
import tensorflow as tf

from lth_tf.datasets import Source
from lth_tf.datasets import tfds as in_memory
from lth_tf.datasets.preprocessing import decode_cropped
from lth_tf.datasets.streamed import Batch, Indexed
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports

with lazy_imports():
    import tensorflow_datasets as tfds

# What TFDS reads several files at once by, so that examples have the numbers of there.
_CYCLE, _BLOCK = 16, 16
# A record in a TFRecord file: its length and that one's checksum; its content; its checksum.
_HEAD, _FOOT = 12, 4


class Records:
    """Records of TFRecord files, found by their number.

    Args:
        files: paths of the files.
        features: TFDS's description of a record.
        image_shape: what images of unequal sizes are brought to.
    """

    dtype: np.dtype = np.dtype(np.uint8)
    label_shape: tuple[int, ...] = ()

    def __init__(self, files: list[str], features: Any, image_shape: tuple[int, ...]):
        self._files, self._features = files, features
        shape = features["image"].shape
        self.varied = shape[0] is None
        self.input_shape = image_shape if self.varied else tuple(shape)
        self._open: dict[int, int] = {}
        found = [_index(file) for file in files]
        order = _order([len(places) for places, _ in found])
        number = np.repeat(np.arange(len(files)), [len(places) for places, _ in found])
        self._file = number[order]
        self._places = np.concatenate([places for places, _ in found])[order]
        self._sums = np.concatenate([sums for _, sums in found])[order]

    def __len__(self) -> int:
        return len(self._places)

    def example(self, index: tf.Tensor, seed: tf.Tensor | None) -> Batch:
        """Returns an image, brought to size if need be (see `decode_cropped`), and its label."""
        decoders = {"image": tfds.decode.SkipDecoding()} if self.varied else None
        found = self._features.deserialize_example(self._raw(index), decoders=decoders)
        image = found["image"]
        if self.varied:
            image = decode_cropped(image, self.input_shape, seed)
        return tf.ensure_shape(image, self.input_shape), tf.cast(found["label"], tf.int32)

    def label(self, index: tf.Tensor) -> tf.Tensor:
        """Returns its label; the image is not decoded."""
        decoders = {"image": tfds.decode.SkipDecoding()}
        found = self._features.deserialize_example(self._raw(index), decoders=decoders)
        return tf.cast(found["label"], tf.int32)

    def name(self, index: int) -> str:
        """Returns file and place."""
        return f"{self._files[self._file[index]]}, byte {self._places[index][0]}"

    def fingerprints(self, indices: np.ndarray) -> np.ndarray | None:
        """Returns the records' own checksums; None for images of one size, which are few."""
        return self._sums[indices] if self.varied else None

    def _raw(self, index: tf.Tensor) -> tf.Tensor:
        return tf.ensure_shape(tf.numpy_function(self._read, [index], tf.string), ())

    def _read(self, index: np.ndarray) -> bytes:
        number = int(self._file[index])
        place, length = map(int, self._places[index])
        # Without a position of its own, so that several threads may read it.
        return os.pread(self._descriptor(number), length, place)

    def _descriptor(self, number: int) -> int:
        if number not in self._open:
            self._open[number] = os.open(self._files[number], os.O_RDONLY)
        return self._open[number]

    def __del__(self) -> None:
        for descriptor in self._open.values():
            os.close(descriptor)


def load(name: str, image_shape: tuple[int, ...], *, data_dir: str = "") -> Source:
    """Returns a TFDS data set's training and test examples where they lie.

    Examples are numbered as `tfds.load` gives them in order. Test examples are those of the split
    "test", or of "validation" where there is no test split or it has no labels (ImageNet).

    Args:
        name: e.g. "imagenet2012".
        image_shape: what images of unequal sizes are brought to; others keep theirs.
        data_dir: TFDS folder; "" is TFDS_DATA_DIR or ~/tensorflow_datasets.

    Raises:
        UsageError: see `lth_tf.datasets.tfds.prepared`; if files are of another format than
            TFRecord, or splits are missing.
    """
    builder = in_memory.prepared(name, in_memory.folder_of(data_dir))
    info = builder.info
    if info.file_format is not tfds.core.FileFormat.TFRECORD:
        raise UsageError(
            f"Expected TFRecord files to stream from. Received: dataset={name!r}, whose files are "
            f"{info.file_format.value}. Prepare it as TFRecord.",
            arguments=("input",),
        )

    def records(split: str) -> Records:
        files = [os.fspath(file) for file in info.splits[split].filepaths]
        return Records(files, info.features, image_shape)

    tests = [split for split in ("test", "validation") if split in info.splits]
    if "train" not in info.splits or not tests:
        raise UsageError(
            "Expected a data set with the splits train and test or validation. "
            f"Received: dataset={name!r} with {', '.join(info.splits)}."
        )
    test = records(tests[0])
    if len(tests) > 1 and int(test.label(tf.constant(0, tf.int64))) < 0:
        test = records(tests[1])
    return Source(
        train=Indexed(records("train")),
        test=Indexed(test),
        classes=info.features["label"].num_classes,
        validation_size=in_memory.VALIDATION_SIZE,
    )


def _index(file: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns where the records of a file lie, int64 [records, 2], and their checksums."""
    places, sums = [], []
    with open(file, "rb", buffering=0) as content:
        descriptor, size, at = content.fileno(), os.path.getsize(file), 0
        head = os.pread(descriptor, _HEAD, at)
        while at < size:
            length = int.from_bytes(head[:8], "little")
            end = at + _HEAD + length
            tail = os.pread(descriptor, _FOOT + _HEAD, end)
            if len(head) < _HEAD or len(tail) < _FOOT:
                raise UsageError(
                    f"Expected a whole TFRecord file. Received: {file}, cut off at byte {size}. "
                    "Prepare the data set again.",
                    arguments=("data_dir",),
                )
            places.append((at + _HEAD, length))
            sums.append(int.from_bytes(tail[:_FOOT], "little"))
            at, head = end + _FOOT, tail[_FOOT:]
    return np.array(places, np.int64).reshape(-1, 2), np.array(sums, np.uint32)


def _order(lengths: list[int]) -> np.ndarray:
    """Returns the records of files, numbered through, in the order that TFDS reads them in."""
    starts = np.cumsum([0, *lengths[:-1]]).astype(np.int64)
    files = tf.data.Dataset.from_tensor_slices((starts, starts + lengths))
    order = files.interleave(tf.data.Dataset.range, cycle_length=_CYCLE, block_length=_BLOCK)
    return np.concatenate([part.numpy() for part in order.batch(100_000)])
