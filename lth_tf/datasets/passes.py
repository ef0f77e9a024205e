"""Examples of a `tf.data.Dataset` that the caller makes anew for every pass through them."""

import inspect
import itertools
import zlib
from collections.abc import Callable, Iterator

import numpy as np
import tensorflow as tf

from lth_tf.datasets.base import Data, Preprocessing
from lth_tf.datasets.split import Split, crc32_head
from lth_tf.datasets.streamed import Batch, Streamed
from lth_tf.errors import UsageError
from lth_tf.seeding import stream_seed

Maker = Callable[..., tf.data.Dataset]

_SAMPLE = 100


def from_datasets(
    train: Maker,
    validation: Maker,
    test: Maker,
    *,
    classes: int,
    preprocessing: Preprocessing | None = None,
    name: str = "datasets",
) -> Data:
    """Returns own `tf.data` pipelines as a data set to find tickets on, larger than memory.

    Args:
        train: returns one pass through the training examples: pairs of inputs and a label, not
            batched. It is called with a seed if it takes an argument, with another one for
            each pass, and the same seed must give the same examples in the same order.
        validation: returns the examples that decide the early-stop iteration.
        test: returns examples that nothing is decided by.
        classes: number of classes.
        preprocessing: what is done to inputs before the network; None is what their type and rank
            need.
        name: what the data set is called in tables and run directories.

    Raises:
        UsageError: if one of them yields something else, or nothing.

    Example::

        def train(seed):
            files = tf.data.Dataset.list_files("train/*.tfrecord", seed=seed)
            return files.interleave(tf.data.TFRecordDataset).map(decode).shuffle(10_000, seed)

        data = lth_tf.from_datasets(train, validation, test, classes=1000)
    """
    splits = {
        part: Passes(make, part)
        for part, make in (("train", train), ("validation", validation), ("test", test))
    }
    for part, split in splits.items():
        if (split.input_shape, split.dtype) != (splits["train"].input_shape, splits["train"].dtype):
            raise UsageError(
                f"Expected {splits['train'].dtype} inputs of shape {splits['train'].input_shape} "
                f"in {part}, as in train. Received: {split.dtype} of shape {split.input_shape}."
            )
    made = preprocessing or Preprocessing.of(splits["train"])
    return Data(name, **splits, classes=classes, preprocessing=made)


class Passes(Streamed):
    """What a function makes for one pass after the other.

    Its first pass is gone through once to count the examples where TensorFlow does not know.

    Args:
        make: see `from_datasets`.
        part: what it is called in errors.
    """

    def __init__(self, make: Maker, part: str):
        self._make, self._part = make, part
        self._seeded = bool(inspect.signature(make).parameters)
        first = self._made(0)
        spec = first.element_spec
        pair = isinstance(spec, tuple) and len(spec) == 2
        if not pair or not all(s.shape.is_fully_defined() for s in spec):
            raise UsageError(
                f"Expected {part} to return pairs of inputs and a label of known shapes. "
                f"Received: {spec}."
            )
        self.input_shape, self.dtype = tuple(spec[0].shape), np.dtype(spec[0].dtype.as_numpy_dtype)
        self.label_shape = tuple(spec[1].shape)
        self._size = int(first.cardinality())
        if self._size == tf.data.UNKNOWN_CARDINALITY:
            self._size = int(first.reduce(np.int64(0), lambda number, _: number + 1))
        if self._size <= 0:
            raise UsageError(
                f"Expected {part} to return one pass through some examples. "
                f"Received: {'no example' if not self._size else 'a dataset without an end'}."
            )

    def __len__(self) -> int:
        return self._size

    def batches(self, size: int, order: int, change: int | None, first: int) -> Iterator[Batch]:
        """Yields the passes' examples one after the other; a batch may span two passes."""
        begin, skipped = divmod(first * size, self._size)
        begun: Batch | None = None  # the first part of a batch, from the pass before
        for number in itertools.count(begin):
            examples = self._pass(stream_seed(order, "pass", number)).skip(skipped)
            missing = size - (0 if begun is None else len(begun[1]))
            rest = examples.skip(missing).batch(size)
            batched = examples.take(missing).batch(missing).concatenate(rest)
            for batch in batched.prefetch(self.ahead(size)):
                if begun is not None:
                    batch = tuple(tf.concat(two, 0) for two in zip(begun, batch, strict=True))
                begun = batch if len(batch[1]) < size else None
                if begun is None:
                    # Of a known shape.
                    yield tuple(tf.identity(tensor) for tensor in batch)
            skipped = 0

    def in_order(self) -> tf.data.Dataset:
        """Returns one pass."""
        return self._pass(0)

    def read(self, indices: np.ndarray) -> Split:
        """Returns those examples of one pass; goes through it as far as the last of them."""
        wanted = {int(index): place for place, index in enumerate(indices)}
        found: list = [None] * len(wanted)
        for number, example in enumerate(self.in_order().take(max(wanted, default=-1) + 1)):
            if number in wanted:
                found[wanted[number]] = [tensor.numpy() for tensor in example]
        inputs, labels = zip(*found, strict=True)
        return Split(np.stack(inputs), np.stack(labels))

    def crc32(self, value: int = 0) -> int:
        """Returns a checksum of the number of examples and of the first hundred."""
        value = crc32_head(self.dtype, (len(self), *self.input_shape), value)
        for tensors in self.in_order().take(_SAMPLE):
            for tensor in tensors:
                value = zlib.crc32(np.ascontiguousarray(tensor.numpy()).tobytes(), value)
        return value

    def _pass(self, seed: int) -> tf.data.Dataset:
        options = tf.data.Options()
        options.deterministic = True
        dataset = self._made(seed).with_options(options)
        return dataset.map(lambda inputs, label: (inputs, tf.cast(label, tf.int32)))

    def _made(self, seed: int) -> tf.data.Dataset:
        dataset = self._make(seed) if self._seeded else self._make()
        if not isinstance(dataset, tf.data.Dataset):
            raise UsageError(
                f"Expected {self._part} to return a tf.data.Dataset. "
                f"Received: {type(dataset).__name__}."
            )
        return dataset
