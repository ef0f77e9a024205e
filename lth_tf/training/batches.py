"""Where the examples of an update come from."""

import math
from collections.abc import Iterable, Iterator
from typing import Any, Protocol

import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Preprocessing, Split
from lth_tf.datasets.base import AnySplit
from lth_tf.datasets.preprocessing import augment
from lth_tf.datasets.streamed import Batch, Streamed
from lth_tf.errors import UsageError
from lth_tf.seeding import BatchOrder, stream_seed

# Large enough to keep the cores busy, small enough for the activations of convolutions.
_EVALUATED = 500
# Of their float32 inputs; activations take a multiple of it.
_EVALUATED_BYTES = 64 << 20


class Batches(Protocol):
    """Batches of training examples, a function of the seed and the iteration alone.

    The host prepares a whole interval at once; the compiled loop takes one update's batch
    out of it. In memory that is indices, a stream hands over the examples themselves.
    """

    def feed(self, first: int, count: int) -> Any:
        """Returns tensors [count, ...]: what `batch` needs for `count` updates.

        Args:
            first: iteration of the first of them.
            count: number of updates; may be 0.
        """

    def batch(self, row: Any, iteration: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns inputs as the network takes them, and labels. Traced inside the loop.

        Args:
            row: the feed's tensors at one update, without their first axis.
            iteration: int32 scalar; the first update of a training is 0.
        """


def batch_order(examples: int, config: ExperimentConfig) -> BatchOrder:
    """Returns which of the training examples make up the batch of each iteration."""
    return BatchOrder(examples, config.batch_size, _order_seed(config))


def _order_seed(config: ExperimentConfig) -> int:
    return stream_seed(config.seed, "order")


class Inputs:
    """What becomes of the inputs of a batch before the network: augmented and preprocessed.

    Args:
        split: what they come from.
        preprocessing: what is done to inputs before the network.
        config: augmentation and seed.

    Attributes:
        seed: of what happens to them at random; None if nothing does.

    Raises:
        UsageError: if inputs that are no images are to be augmented.
    """

    def __init__(self, split: AnySplit, preprocessing: Preprocessing, config: ExperimentConfig):
        if config.augment and len(split.input_shape) != 3:
            raise UsageError(
                "Expected images [examples, height, width, channels] with augment=True. "
                f"Received: inputs of shape {(len(split), *split.input_shape)}."
            )
        self._preprocessing = preprocessing
        self.seed = stream_seed(config.seed, "augment") if config.augment else None
        # Some come changed already.
        self._changed = isinstance(split, Streamed) and split.varied

    def __call__(self, inputs: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
        """Returns what the network takes. Traced."""
        if self.seed is not None and not self._changed:
            inputs = augment(inputs, tf.stack([self.seed, iteration * 2]))
        return self._preprocessing(inputs)


class InMemoryBatches:
    """Batches of a split on the device, gathered by index, augmented and preprocessed.

    Args:
        split: training examples.
        preprocessing: what is done to inputs before the network.
        config: batch size, augmentation and seed.

    Raises:
        UsageError: if inputs that are no images are to be augmented.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing, config: ExperimentConfig):
        self._prepared = Inputs(split, preprocessing, config)
        self._inputs, self._labels = tf.constant(split.inputs), tf.constant(split.labels)
        self._order = batch_order(len(split), config)

    def feed(self, first: int, count: int) -> tf.Tensor:
        """Returns int32 [count, batch size]: indices of examples."""
        return tf.constant(self._order.indices(first, count))

    def batch(self, row: tf.Tensor, iteration: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the examples of a row of indices."""
        inputs, labels = tf.gather(self._inputs, row), tf.gather(self._labels, row)
        return self._prepared(inputs, iteration), labels


class StreamedBatches:
    """Batches that are read, decoded and changed beside the training, ahead of it.

    Args:
        split: training examples.
        preprocessing: what is done to inputs before the network.
        config: batch size, augmentation and seed.

    Attributes:
        most: updates that are fed at once, so many that they fit into memory.

    Raises:
        UsageError: if inputs that are no images are to be augmented.
    """

    def __init__(self, split: Streamed, preprocessing: Preprocessing, config: ExperimentConfig):
        self._split, self._config = split, config
        self._prepared = Inputs(split, preprocessing, config)
        self.most = min(config.eval_interval, split.ahead(config.batch_size))
        self._stream: Iterator[Batch] = iter(())
        self._next: int | None = None

    def feed(self, first: int, count: int) -> Batch:
        """Returns inputs [count, batch size, ...] and labels; goes on where it was, if asked to.

        Args:
            first: iteration of the first update.
            count: number of updates, from 1 on.

        Raises:
            RunError: if an example cannot be read.
        """
        if first != self._next:
            size, order = self._config.batch_size, _order_seed(self._config)
            self._stream = self._split.batches(size, order, self._prepared.seed, first)
        self._next = None  # should reading fail
        batches = [next(self._stream) for _ in range(count)]
        self._next = first + count
        inputs, labels = zip(*batches, strict=True)
        return tf.stack(inputs), tf.stack(labels)

    def batch(self, row: Batch, iteration: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns one update's examples."""
        inputs, labels = row
        return self._prepared(inputs, iteration), labels


def evaluated_at_once(input_shape: Iterable[int | None]) -> int:
    """Returns how many examples of a shape are evaluated at once.

    Example:
    >>> evaluated_at_once((28, 28, 1)), evaluated_at_once((512, 512, 3))
    (500, 21)
    """
    return max(1, min(_EVALUATED, _EVALUATED_BYTES // (4 * math.prod(n or 1 for n in input_shape))))


class Examples:
    """A split on the device, to be evaluated part by part.

    Args:
        split: the examples.
        preprocessing: what is done to inputs before the network.
    """

    def __init__(self, split: Split, preprocessing: Preprocessing):
        self._inputs, self._labels = tf.constant(split.inputs), tf.constant(split.labels)
        self._preprocessing = preprocessing

    def __len__(self) -> int:
        return int(self._labels.shape[0])

    @property
    def labels(self) -> int:
        """Number of labels: one an example, or several if they are arrays."""
        return int(self._labels.shape.num_elements())

    @property
    def at_once(self) -> int:
        """How many are evaluated at once."""
        return min(evaluated_at_once(self._inputs.shape[1:]), len(self))

    def part(self, start: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `size` examples from `start` on: inputs as the network takes them, labels."""
        rest = self._inputs.shape[1:]
        stored = tf.slice(self._inputs, (start, *(0 for _ in rest)), (size, *rest))
        inputs = self._preprocessing(stored)
        rest = self._labels.shape[1:]
        return inputs, tf.slice(self._labels, (start, *(0 for _ in rest)), (size, *rest))


class StreamedExamples:
    """A split that is evaluated part by part as it is read.

    Args:
        split: the examples.
        preprocessing: what is done to inputs before the network.
    """

    def __init__(self, split: Streamed, preprocessing: Preprocessing):
        self._split, self.preprocessing = split, preprocessing

    def __len__(self) -> int:
        return len(self._split)

    @property
    def labels(self) -> int:
        """Number of labels: one an example, or several if they are arrays."""
        return len(self) * math.prod(self._split.label_shape)

    def parts(self) -> Iterator[Batch]:
        """Yields what is evaluated at once, in order: inputs as they are stored, labels."""
        size = evaluated_at_once(self._split.input_shape)
        return iter(self._split.in_order().batch(size).prefetch(2))
