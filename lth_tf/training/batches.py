"""Where the examples of an update come from."""

from typing import Any, Protocol

import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Preprocessing, Split
from lth_tf.datasets.preprocessing import augment
from lth_tf.errors import UsageError
from lth_tf.seeding import BatchOrder, stream_seed


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
    return BatchOrder(examples, config.batch_size, stream_seed(config.seed, "order"))


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
        if config.augment and split.inputs.ndim != 4:
            raise UsageError(
                "Expected images [examples, height, width, channels] with augment=True. "
                f"Received: inputs of shape {split.inputs.shape}."
            )
        self._inputs, self._labels = tf.constant(split.inputs), tf.constant(split.labels)
        self._preprocessing = preprocessing
        self._augment_seed = stream_seed(config.seed, "augment") if config.augment else None
        self._order = batch_order(len(split), config)

    def feed(self, first: int, count: int) -> tf.Tensor:
        """Returns int32 [count, batch size]: indices of examples."""
        return tf.constant(self._order.indices(first, count))

    def batch(self, row: tf.Tensor, iteration: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the examples of a row of indices."""
        inputs, labels = tf.gather(self._inputs, row), tf.gather(self._labels, row)
        if self._augment_seed is not None:
            inputs = augment(inputs, tf.stack([self._augment_seed, iteration * 2]))
        return self._preprocessing(inputs), labels


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

    def part(self, start: tf.Tensor, size: int) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns `size` examples from `start` on: inputs as the network takes them, labels."""
        rest = self._inputs.shape[1:]
        stored = tf.slice(self._inputs, (start, *(0 for _ in rest)), (size, *rest))
        inputs = self._preprocessing(stored)
        rest = self._labels.shape[1:]
        return inputs, tf.slice(self._labels, (start, *(0 for _ in rest)), (size, *rest))
