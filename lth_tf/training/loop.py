"""Many updates and an evaluation in one call: what the Trainer drives.

`CompiledLoop` does it with TensorFlow, for any model. Data, weights, masks and the best
weights so far are on the device. Masks and weights are variables that are assigned, so what
is compiled serves every level. A whole interval
is a loop whose trip count is known when it is compiled: XLA on a GPU otherwise asks the
host before each iteration. Intervals of other lengths (the last one, or up to a rewind
iteration) share a second program.
"""

import collections
import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from lth_tf.masking.model import to_numpy, weight_variables
from lth_tf.tensorflow_internals import in_fixed_order
from lth_tf.training.batches import Batches, Examples
from lth_tf.training.step import Step

Update = Callable[[tf.Tensor, tf.Tensor, tf.Tensor], tf.Tensor]
Measure = Callable[[tf.Tensor, tf.Tensor], tuple[tf.Tensor, tf.Tensor]]


@dataclasses.dataclass(frozen=True)
class Interval:
    """Metrics of an interval of training.

    Attributes:
        train_loss: mean loss of its batches; None if there was none.
        not_finite: iteration of the first update whose loss was not finite, or None.
        validation_loss: mean loss of the validation set after it.
        validation_accuracy: fraction of its labels predicted.
        test_accuracy: the same of the test set, or None if it was not asked for.
    """

    train_loss: float | None
    not_finite: int | None
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float | None


class Loop(Protocol):
    """Trains intervals and evaluates.

    The weights are the model's at `restart`, and again after `write_back`; in between a loop
    may have them elsewhere.
    """

    def restart(self, iteration: int) -> None:
        """Begins a training at an iteration, from the weights and masks of the model."""

    def forget_best(self) -> None:
        """Lets the best validation loss be that of the next evaluation."""

    def interval(self, first: int, count: int, tested: bool) -> Interval:
        """Makes `count` updates from iteration `first`, then evaluates.

        The weights are kept if no validation loss since `restart` or `forget_best` was as low.

        Args:
            first: number of updates made before.
            count: number of updates; 0 evaluates only.
            tested: whether the test set is evaluated too.
        """

    def outcome(self) -> tuple[float, dict[str, np.ndarray]]:
        """Returns what the weights at the end of a training, and the best ones, predict.

        Returns:
            Accuracy of the last weights on the training set; "early_stop" and "final" ->
            bool [labels], which labels of the test set the best and the last weights predict.
        """

    def evaluate(self, split: str) -> tuple[float, float]:
        """Returns the mean loss and the accuracy of the model's weights on a split."""

    def write_back(self) -> None:
        """Puts the weights into the model."""

    def state(self) -> dict[str, np.ndarray]:
        """Returns what belongs to a training beside the weights."""

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes back to a `state`; the model has the weights and masks of then."""


class CompiledLoop:
    """Trains intervals and evaluates, each in one compiled call.

    Args:
        model: what is trained.
        step: how.
        batches: on what.
        examples: "train", "validation" and "test" -> examples to evaluate.
        jit: compile with XLA.
        length: updates of a whole interval.
        tests: whether intervals may end with the test set.
    """

    def __init__(
        self,
        model: keras.Model,
        step: Step,
        batches: Batches,
        examples: Mapping[str, Examples],
        jit: bool,
        length: int,
        tests: bool,
    ):
        self._step = step
        self._batches = batches
        self._examples = examples
        self._length = length
        self._tests = tests
        self._weights = list(weight_variables(model).values())
        self._best = [tf.Variable(v.value, trainable=False) for v in self._weights]
        self._best_loss = tf.Variable(np.inf, dtype=tf.float32, trainable=False)
        self._traces: collections.Counter[str] = collections.Counter()

        self._jit = jit
        self._strategy = tf.distribute.get_strategy()
        # Traced once and called in several programs.
        self._update, self._measure = self._compiled(step.update), self._compiled(step.measure)
        self._programs = {
            kind: self._compiled(functools.partial(self._train_and_evaluate, kind))
            for kind in ("evaluation", "whole", "part")
        }
        self._outcome = self._compiled(self._predicted_at_end)
        self._totals = self._compiled(self._totals_of)

    def _compiled(self, function: Callable) -> Callable:
        # TensorFlow warns of a method that is traced for one Trainer after the other,
        # but knows no code of a partial.
        scoped = functools.partial(_in_scope, self._strategy, function)
        return tf.function(scoped, jit_compile=self._jit, autograph=False)

    @property
    def traces(self) -> int:
        """How often a program was traced, at most: 1 is never anew."""
        return max(self._traces.values(), default=0)

    def state(self) -> dict[str, np.ndarray]:
        """Returns the variables of step and loop."""
        return {name: to_numpy(variable) for name, variable in self._state().items()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Assigns them."""
        for name, variable in self._state().items():
            variable.assign(state[name])

    def _state(self) -> dict[str, Any]:
        lists = {**self._step.state(), "best": [*self._best, self._best_loss]}
        return {f"{name}/{i}": v for name, found in lists.items() for i, v in enumerate(found)}

    def restart(self, iteration: int) -> None:
        """Begins a training; what was compiled stays."""
        self._step.restart(iteration)
        self.forget_best()

    def forget_best(self) -> None:
        """Lets the best validation loss be that of the next evaluation."""
        self._best_loss.assign(np.inf)

    def write_back(self) -> None:
        """Does nothing: the weights are the model's."""

    @in_fixed_order()
    def interval(self, first: int, count: int, tested: bool) -> Interval:
        """Makes updates, at most `length`, and evaluates, in one call."""
        kind = "part" if count else "evaluation"
        kind = "whole" if count == self._length else kind
        loss_sum, bad, loss, correct, test = self._programs[kind](
            # Of one shape for all parts.
            self._batches.feed(first, self._length if count else 0),
            tf.constant(first),
            tf.constant(count),
            tf.constant(tested),
        )
        return Interval(
            train_loss=float(loss_sum) / count if count else None,
            not_finite=int(bad) if int(bad) >= 0 else None,
            validation_loss=float(loss),
            validation_accuracy=int(correct) / self._examples["validation"].labels,
            test_accuracy=int(test) / self._examples["test"].labels if tested else None,
        )

    @in_fixed_order()
    def outcome(self) -> tuple[float, dict[str, np.ndarray]]:
        """Evaluates the last and the best weights."""
        train, last, best = self._outcome()
        found = {"early_stop": best.numpy(), "final": last.numpy()}
        return int(train) / self._examples["train"].labels, found

    @in_fixed_order()
    def evaluate(self, split: str) -> tuple[float, float]:
        """Returns the model's mean loss and its accuracy on a split."""
        loss, correct = self._totals(split)
        labels = self._examples[split].labels
        return float(loss) / labels, int(correct) / labels

    def _train_and_evaluate(
        self, kind: str, feed: Any, first: tf.Tensor, count: tf.Tensor, tested: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        self._traces[kind] += 1
        loss_sum, bad = tf.constant(0.0), tf.constant(-1)
        if kind != "evaluation":
            # XLA makes no loop of one trip and would then round otherwise: it is not told.
            known = kind == "whole" and self._length > 1
            trips = self._length if known else count
            loss_sum, bad = train(self._update, self._batches, feed, first, trips)
        total, correct = self._totals_of("validation")
        loss = self._keep_if_better(total, self._examples["validation"].labels)
        test = tf.constant(0)
        if self._tests:
            test = tf.cond(tested, lambda: self._totals_of("test")[1], lambda: tf.constant(0))
        return loss_sum, bad, loss, correct, test

    def _keep_if_better(self, total: tf.Tensor, labels: int) -> tf.Tensor:
        """Keeps the weights if no validation loss was as low; returns the loss. Traced."""
        loss = total / labels
        better = loss < self._best_loss
        for best, variable in zip(self._best, self._weights, strict=True):
            best.assign(tf.where(better, variable.value, best))
        self._best_loss.assign(tf.where(better, loss, self._best_loss))
        return loss

    def _swap_best(self) -> None:
        """Exchanges the weights and the best ones. Traced."""
        for variable, best in zip(self._weights, self._best, strict=True):
            last = tf.identity(variable.value)
            variable.assign(best)
            best.assign(last)

    def _predicted_at_end(self) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Evaluates the last and the best weights; leaves the last."""

        def test_and_swap(i: Any, _: Any, second: tf.Tensor) -> tuple[tf.Tensor, ...]:
            correct = predicted(self._measure, self._examples["test"])
            self._swap_best()
            return i + 1, second, correct

        train = self._totals_of("train")[1]
        none = tf.zeros(self._examples["test"].labels, tf.bool)
        _, last, best = tf.while_loop(
            lambda i, *_: i < 2, test_and_swap, (0, none, none), parallel_iterations=1
        )
        return train, last, best

    def _totals_of(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        return totals(self._measure, self._examples[split])


def _in_scope(strategy: tf.distribute.Strategy, function: Callable, *arguments: Any) -> Any:
    """Calls a function as where the loop was made, whoever traces it."""
    with strategy.scope():
        return function(*arguments)


def train(
    update: Update,
    batches: Batches,
    feed: Any,
    first: tf.Tensor,
    count: tf.Tensor | int,
    before: tuple[tf.Tensor, tf.Tensor] | None = None,
) -> tuple[tf.Tensor, tf.Tensor]:
    """Makes updates, one after the other. To be traced.

    Args:
        update: `Step.update`.
        batches: where its examples come from.
        feed: what `batches` handed over.
        first: iteration of the first update, an int32 scalar.
        count: number of updates; a number if it is to be known when this is compiled.
        before: what was returned of the updates before, to go on from.

    Returns:
        Sum of their losses; iteration of the first that was not finite, or -1.
    """

    def body(i: tf.Tensor, loss_sum: tf.Tensor, bad: tf.Tensor) -> tuple[tf.Tensor, ...]:
        row = tf.nest.map_structure(lambda tensor: tensor[i], feed)
        loss = update(*batches.batch(row, first + i), first + i)
        failed = tf.logical_and(bad < 0, tf.logical_not(tf.math.is_finite(loss)))
        return i + 1, loss_sum + loss, tf.where(failed, first + i, bad)

    _, loss_sum, bad = tf.while_loop(
        lambda i, *_: i < count,
        body,
        (tf.constant(0), *(before or (tf.constant(0.0), tf.constant(-1)))),
        parallel_iterations=1,
    )
    return loss_sum, bad


def totals(measure: Measure, examples: Examples) -> tuple[tf.Tensor, tf.Tensor]:
    """Evaluates all examples, batch by batch. To be traced.

    Args:
        measure: `Step.measure`.
        examples: what to evaluate.

    Returns:
        Sum of their losses; number of labels predicted.
    """
    size = examples.at_once
    whole = len(examples) // size

    def add(start: Any, size: int, loss: tf.Tensor, correct: tf.Tensor) -> tuple[Any, Any]:
        part = measure(*examples.part(start, size))
        return loss + part[0], correct + tf.reduce_sum(tf.cast(part[1], tf.int32))

    def body(i: tf.Tensor, loss: tf.Tensor, correct: tf.Tensor) -> tuple[tf.Tensor, ...]:
        return i + 1, *add(i * size, size, loss, correct)

    _, loss, correct = tf.while_loop(
        lambda i, *_: i < whole,
        body,
        (tf.constant(0), tf.constant(0.0), tf.constant(0)),
        parallel_iterations=1,
    )
    if len(examples) % size:
        loss, correct = add(whole * size, len(examples) - whole * size, loss, correct)
    return loss, correct


def predicted(measure: Measure, examples: Examples) -> tf.Tensor:
    """Says of every label whether it is predicted, batch by batch. To be traced.

    Args:
        measure: `Step.measure`.
        examples: what to evaluate.

    Returns:
        bool [labels], in the order of the examples.
    """
    size = examples.at_once
    whole = len(examples) // size
    each = examples.labels // len(examples)

    def body(i: tf.Tensor, found: tf.TensorArray) -> tuple[tf.Tensor, tf.TensorArray]:
        correct = tf.reshape(measure(*examples.part(i * size, size))[1], [-1])
        return i + 1, found.write(i, correct)

    found = tf.TensorArray(tf.bool, whole, element_shape=[size * each])
    _, found = tf.while_loop(
        lambda i, *_: i < whole, body, (tf.constant(0), found), parallel_iterations=1
    )
    parts = [tf.reshape(found.stack(), [whole * size * each])]
    if rest := len(examples) % size:
        correct = measure(*examples.part(whole * size, rest))[1]
        parts.append(tf.reshape(correct, [rest * each]))
    return tf.concat(parts, 0)
