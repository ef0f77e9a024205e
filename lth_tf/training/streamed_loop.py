"""Many updates in one call and an evaluation part by part: data that do not fit into memory."""

import functools
from collections.abc import Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_tf.tensorflow_internals import in_fixed_order
from lth_tf.training.batches import StreamedBatches, StreamedExamples
from lth_tf.training.loop import CompiledLoop, Interval, train
from lth_tf.training.step import Step


class StreamedLoop(CompiledLoop):
    """Trains as many updates in one compiled call as there are examples in memory.

    Batches, updates and sums are those of `CompiledLoop`, in its order. Between two calls the
    host hands over what was read meanwhile.

    Args:
        model: what is trained.
        step: how.
        batches: on what.
        examples: "train", "validation" and "test" -> examples to evaluate.
        jit: compile with XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Step,
        batches: StreamedBatches,
        examples: Mapping[str, StreamedExamples],
        jit: bool,
    ):
        super().__init__(model, step, batches, {}, jit, length=batches.most, tests=False)
        self._stream, self._parts = batches, examples
        self._train = {
            kind: self._compiled(functools.partial(self._train_part, kind))
            for kind in ("whole", "part")
        }
        self._add = self._compiled(self._add_part)
        self._predict = self._compiled(self._predict_part)
        self._keep = self._compiled(self._keep_if_better)
        self._swap = self._compiled(self._swap_best)

    @in_fixed_order()
    def interval(self, first: int, count: int, tested: bool) -> Interval:
        """Makes updates and evaluates, in as many calls as it takes."""
        found = tf.constant(0.0), tf.constant(-1)
        for start in range(first, first + count, self._length):
            part = min(self._length, first + count - start)
            feed = self._stream.feed(start, part)
            kind = "whole" if part == self._length else "part"
            if kind == "part":
                feed = tf.nest.map_structure(self._padded, feed)
            found = self._train[kind](feed, tf.constant(start), tf.constant(part), *found)
        total, correct = self._totals_read("validation")
        loss = self._keep(total, self._parts["validation"].labels)
        return Interval(
            train_loss=float(found[0]) / count if count else None,
            not_finite=int(found[1]) if int(found[1]) >= 0 else None,
            validation_loss=float(loss),
            validation_accuracy=int(correct) / self._parts["validation"].labels,
            test_accuracy=(
                int(self._totals_read("test")[1]) / self._parts["test"].labels if tested else None
            ),
        )

    @in_fixed_order()
    def outcome(self) -> tuple[float, dict[str, np.ndarray]]:
        """Evaluates the last and the best weights; leaves the last."""
        train = int(self._totals_read("train")[1]) / self._parts["train"].labels
        final = self._predicted("test")
        self._swap()
        best = self._predicted("test")
        self._swap()
        return train, {"early_stop": best, "final": final}

    @in_fixed_order()
    def evaluate(self, split: str) -> tuple[float, float]:
        """Returns the model's mean loss and its accuracy on a split."""
        loss, correct = self._totals_read(split)
        labels = self._parts[split].labels
        return float(loss) / labels, int(correct) / labels

    def _totals_read(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        examples, found = self._parts[split], (tf.constant(0.0), tf.constant(0))
        for inputs, labels in examples.parts():
            found = self._add(inputs, labels, *found)
        return found

    def _predicted(self, split: str) -> np.ndarray:
        parts = self._parts[split].parts()
        return np.concatenate([np.ravel(self._predict(*part).numpy()) for part in parts])

    def _train_part(
        self,
        kind: str,
        feed: Any,
        first: tf.Tensor,
        count: tf.Tensor,
        loss_sum: tf.Tensor,
        bad: tf.Tensor,
    ) -> tuple[tf.Tensor, tf.Tensor]:
        self._traces[kind] += 1
        # As in `CompiledLoop`.
        trips = self._length if kind == "whole" and self._length > 1 else count
        return train(self._update, self._stream, feed, first, trips, (loss_sum, bad))

    def _add_part(
        self, inputs: tf.Tensor, labels: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        part = self._measure(self._parts["test"].preprocessing(inputs), labels)
        return loss + part[0], correct + tf.reduce_sum(tf.cast(part[1], tf.int32))

    def _predict_part(self, inputs: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return self._measure(self._parts["test"].preprocessing(inputs), labels)[1]

    def _padded(self, tensor: tf.Tensor) -> tf.Tensor:
        """Returns rows up to the length of a whole interval, so that all parts have one shape."""
        missing = self._length - tensor.shape[0]
        return tf.pad(tensor, [[0, missing], *[[0, 0]] * (tensor.shape.rank - 1)])
