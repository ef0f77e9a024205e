"""Examples that are read when they are needed, so that a data set may be larger than memory."""

import abc
import functools
import os
import zlib
from collections.abc import Callable, Iterator
from typing import Protocol, Self

import numpy as np
import tensorflow as tf

from lth_tf.datasets.split import Split, crc32_head
from lth_tf.errors import RunError, one_line
from lth_tf.seeding import BatchOrder

# Bytes of examples that wait to be trained on, and that go to the device at once.
READ_AHEAD = 64 << 20

Batch = tuple[tf.Tensor, tf.Tensor]


class Streamed(abc.ABC):
    """A split whose examples are outside of memory. It stands where a `Split` does.

    Attributes:
        input_shape: shape of one example's inputs.
        dtype: their type.
        label_shape: shape of one example's labels, () if it has one.
        varied: whether training sees its inputs changed at random as they are read.
    """

    input_shape: tuple[int, ...]
    dtype: np.dtype
    label_shape: tuple[int, ...] = ()
    varied: bool = False

    @abc.abstractmethod
    def __len__(self) -> int:
        """Returns the number of examples."""

    @abc.abstractmethod
    def batches(self, size: int, order: int, change: int | None, first: int) -> Iterator[Batch]:
        """Yields the batches of a training without end.

        Args:
            size: examples a batch.
            order: seed of their order.
            change: seed of the changes to inputs that are `varied`; None leaves them.
            first: iteration of the first batch.

        Yields:
            Inputs [size, ...], labels int32 [size, ...]: a function of the seeds and the
            iteration alone.
        """

    @abc.abstractmethod
    def in_order(self) -> tf.data.Dataset:
        """Returns all examples once: inputs, labels."""

    @abc.abstractmethod
    def read(self, indices: np.ndarray) -> Split:
        """Returns the examples with these indices in memory."""

    @property
    def inputs(self) -> np.ndarray:
        """All inputs in memory, for who needs them at once: exports, other frameworks."""
        return np.concatenate([inputs.numpy() for inputs, _ in self._parts()])

    @functools.cached_property
    def labels(self) -> np.ndarray:
        """All labels, int32 [examples, ...]."""
        return np.concatenate([labels.numpy() for labels in self.labels_in_order().batch(4096)])

    def labels_in_order(self) -> tf.data.Dataset:
        """Returns the labels alone."""
        return self.in_order().map(lambda _, labels: labels)

    @property
    def images(self) -> np.ndarray:
        """The inputs, of a data set of images."""
        return self.inputs

    def crc32(self, value: int = 0) -> int:
        """Returns what `Split.crc32` returns of the same examples; reads them all."""
        value = crc32_head(self.dtype, (len(self), *self.input_shape), value)
        for inputs, _ in self._parts():
            value = zlib.crc32(np.ascontiguousarray(inputs.numpy()).view(np.uint8).data, value)
        value = crc32_head(self.labels.dtype, self.labels.shape, value)
        return zlib.crc32(np.ascontiguousarray(self.labels).view(np.uint8).data, value)

    def _parts(self) -> Iterator[Batch]:
        return iter(self.in_order().batch(500).prefetch(1))

    @property
    def example_bytes(self) -> int:
        """Size of one example's inputs."""
        return int(np.prod(self.input_shape, dtype=np.int64)) * np.dtype(self.dtype).itemsize

    def ahead(self, size: int) -> int:
        """Returns how many batches of a size are read ahead."""
        return max(2, READ_AHEAD // max(1, size * self.example_bytes))


class Store(Protocol):
    """Examples by their number, wherever they are.

    Attributes:
        input_shape: shape of one example's inputs.
        dtype: their type.
        label_shape: shape of its labels.
        varied: whether `example` changes inputs by a seed.
    """

    input_shape: tuple[int, ...]
    dtype: np.dtype
    label_shape: tuple[int, ...]
    varied: bool

    def __len__(self) -> int:
        """Returns the number of examples."""

    def example(self, index: tf.Tensor, seed: tf.Tensor | None) -> Batch:
        """Returns inputs and labels of one example. Traced, and called in parallel.

        Args:
            index: int64 scalar.
            seed: int64 [2], of a change at random; None leaves the inputs.
        """

    def label(self, index: tf.Tensor) -> tf.Tensor:
        """Returns its labels alone. Traced."""

    def name(self, index: int) -> str:
        """Returns what an example is called in an error."""

    def fingerprints(self, indices: np.ndarray) -> np.ndarray | None:
        """Returns an array that differs if examples do; None has them all read for that."""


class Rows:
    """Rows of arrays, memory-mapped files (`np.load(..., mmap_mode="r")`) included.

    Args:
        inputs: [examples, ...].
        labels: int32 [examples, ...].
    """

    varied = False

    def __init__(self, inputs: np.ndarray, labels: np.ndarray):
        self._inputs, self._labels = inputs, labels
        self.input_shape, self.dtype = tuple(inputs.shape[1:]), inputs.dtype
        self.label_shape = tuple(labels.shape[1:])

    def __len__(self) -> int:
        return len(self._labels)

    def example(self, index: tf.Tensor, seed: tf.Tensor | None) -> Batch:
        """Returns a row of inputs and of labels."""
        inputs = tf.numpy_function(lambda i: self._inputs[i], [index], self.dtype)
        return tf.ensure_shape(inputs, self.input_shape), self.label(index)

    def label(self, index: tf.Tensor) -> tf.Tensor:
        """Returns a row of labels."""
        label = tf.numpy_function(lambda i: self._labels[i], [index], tf.int32)
        return tf.ensure_shape(label, self.label_shape)

    def name(self, index: int) -> str:
        """Returns the row."""
        return f"row {index}"

    def fingerprints(self, indices: np.ndarray) -> None:
        """Returns None: the rows themselves."""


class Indexed(Streamed):
    """Examples of a store, each readable at any time: shuffled whole, as in memory.

    Args:
        store: where they are.
        indices: which of them, in this order; None are all.
    """

    def __init__(self, store: Store, indices: np.ndarray | None = None):
        self._store = store
        self._indices = np.arange(len(store)) if indices is None else indices
        self.input_shape, self.dtype = store.input_shape, np.dtype(store.dtype)
        self.label_shape, self.varied = store.label_shape, store.varied

    def __len__(self) -> int:
        return len(self._indices)

    def take(self, indices: np.ndarray) -> Self:
        """Returns the examples with these indices."""
        return type(self)(self._store, self._indices[np.asarray(indices)])

    def read(self, indices: np.ndarray) -> Split:
        """Returns the examples with these indices in memory."""
        chosen = self.take(indices)
        return Split(chosen.inputs, chosen.labels)

    def batches(self, size: int, order: int, change: int | None, first: int) -> Iterator[Batch]:
        """Yields batches in the order that a `Split` of the same examples is trained in.

        Raises:
            RunError: if an example cannot be read; the message names it.
        """
        rows = BatchOrder(len(self), size, order)

        def chosen(iteration: np.ndarray) -> np.ndarray:
            return self._indices[rows.indices(int(iteration), 1)[0]]

        def keyed(iteration: tf.Tensor) -> tf.data.Dataset:
            indices = tf.ensure_shape(tf.numpy_function(chosen, [iteration], tf.int64), [size])
            positions = iteration * size + tf.range(size, dtype=tf.int64)
            return tf.data.Dataset.from_tensor_slices((indices, positions))

        def example(index: tf.Tensor, position: tf.Tensor) -> Batch:
            seed = None if change is None else tf.stack([tf.constant(change, tf.int64), position])
            return self._store.example(index, seed)

        dataset = tf.data.Dataset.range(first, np.iinfo(np.int32).max).flat_map(keyed)
        dataset = dataset.map(example, num_parallel_calls=_threads(), deterministic=True)
        dataset = dataset.batch(size, drop_remainder=True).prefetch(self.ahead(size))
        iteration, batches = first, iter(dataset)
        while True:
            try:
                batch = next(batches)
            except tf.errors.OpError as error:
                raise self._damaged(chosen(np.array(iteration)), error) from error
            yield batch
            iteration += 1

    def in_order(self) -> tf.data.Dataset:
        """Returns all examples once."""
        return self._each(lambda index: self._store.example(index, None))

    def labels_in_order(self) -> tf.data.Dataset:
        """Returns the labels alone."""
        return self._each(self._store.label)

    def crc32(self, value: int = 0) -> int:
        """Returns a checksum, of what the store knows of its examples where it does."""
        known = self._store.fingerprints(self._indices)
        if known is None:
            return super().crc32(value)
        value = crc32_head(self.dtype, (len(self), *self.input_shape), value)
        return zlib.crc32(np.ascontiguousarray(known).view(np.uint8).data, value)

    def _each(self, function: Callable) -> tf.data.Dataset:
        indices = tf.data.Dataset.from_tensor_slices(self._indices)
        return indices.map(function, num_parallel_calls=_threads(), deterministic=True)

    def _damaged(self, indices: np.ndarray, error: Exception) -> RunError:
        """Returns what is said of the first of some examples that cannot be read."""
        for index in indices:
            try:
                self._store.example(tf.constant(index, tf.int64), None)
            except tf.errors.OpError as found:
                return RunError(
                    f"Expected examples that can be read. Received: {self._store.name(index)} "
                    f"({one_line(found)})."
                )
        return RunError(f"Expected examples that can be read. Received: {one_line(error)}.")


def _threads() -> int:
    return len(os.sched_getaffinity(0))
