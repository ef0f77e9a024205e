"""The compiled training loop.

One call of a compiled function trains many iterations and evaluates the
validation set, with data, weights, masks and the best weights so far on the
device. Masks and weights are variables that are assigned, so the function is
traced once and serves every level.
"""

import time
from collections.abc import Iterator

import keras
import numpy as np
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data, Split
from lth_tf.datasets.preprocessing import augment, normalize
from lth_tf.errors import RunError
from lth_tf.masking.layers import CONVOLUTIONS, pruned_are_zero
from lth_tf.masking.model import random_states, to_numpy, weight_variables, zero_pruned
from lth_tf.runs.history import Evaluation, History, from_columns, to_columns
from lth_tf.seeding import BatchOrder, stream_seed
from lth_tf.training.schedules import schedule

# Large enough to keep the cores busy, small enough for the activations of convolutions.
_EVALUATION_BATCH = 500


class Trainer:
    """Trains a masked model again and again, each time from the weights it has.

    Args:
        model: a masked model that returns logits.
        data: what to train, validate and test on.
        config: iterations, batch size, optimizer, intervals and seed.
        jit: compile with XLA: "on", "off", or "auto", which is on for
            accelerators, and on a CPU if the model has no convolution (there XLA
            is 2x faster for dense layers and over 100x slower for convolutions).

    Attributes:
        traces: how often the training function was traced.
        iteration: optimizer updates made since initialization.

    Example::

        trainer = Trainer(model, data, config)
        history = trainer.fit()
    """

    def __init__(self, model: keras.Model, data: Data, config: ExperimentConfig, jit: str = "auto"):
        self._model = model
        self._config = config
        self._jit = uses_jit(model, jit)
        self._order = BatchOrder(
            len(data.train), config.batch_size, stream_seed(config.seed, "order")
        )
        self._splits = {
            name: _on_device(getattr(data, name)) for name in ("train", "validation", "test")
        }
        largest = max(len(data.train), len(data.validation), len(data.test))
        self._evaluation_batch = min(_EVALUATION_BATCH, largest)
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._optimizer = make_optimizer(config)
        self._schedule = schedule(config)
        self._optimizer.build(model.trainable_variables)
        self._fresh_optimizer = [to_numpy(v) for v in self._optimizer.variables]
        self._weights = weight_variables(model)
        self._best = [tf.Variable(v.value, trainable=False) for v in self._weights.values()]
        self._best_loss = tf.Variable(np.inf, dtype=tf.float32, trainable=False)
        self._random_states = random_states(model)
        self.traces = 0
        self._train = tf.function(self._train_interval, jit_compile=self._jit, autograph=False)
        self._count_correct = tf.function(
            self._right_of_batch, jit_compile=self._jit, autograph=False
        )
        self.restart()

    def restart(self, iteration: int = 0) -> None:
        """Starts a training at `iteration` from the weights the model has now.

        The optimizer's slots are cleared and the learning rate is that of
        `iteration`.
        """
        zero_pruned(self._model)
        for variable, value in zip(self._optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)
        self._best_loss.assign(np.inf)
        self.iteration = iteration
        self._evaluations: list[Evaluation] = []
        self._seconds = 0.0

    def fit(self, iteration: int = 0) -> History:
        """Trains from `iteration` to the last one.

        Raises:
            RunError: if the loss is not finite.
        """
        self.restart(iteration)
        for _ in self.evaluations():
            pass
        return self.history()

    def evaluations(self, until: int | None = None) -> Iterator[Evaluation]:
        """Trains on to the last iteration, and yields after every interval.

        Args:
            until: iteration to stop at; None is the config's last.

        Raises:
            RunError: if the loss is not finite; the message names the iteration.
        """
        until = self._config.iterations if until is None else until
        if not self._evaluations:
            yield self._advance(0)
        while self.iteration < until:
            interval = self._config.eval_interval
            yield self._advance(min(interval - self.iteration % interval, until - self.iteration))

    def history(self) -> History:
        """Returns what became of the training; tests the best and the last weights."""
        start = time.perf_counter()
        best = min(self._evaluations, key=lambda e: e.validation_loss)
        final_test, final_train = self.accuracy("test"), self.accuracy("train")
        last = [to_numpy(variable) for variable in self._weights.values()]
        self._assign(self._best)
        early_stop_test = self.accuracy("test")
        self._assign(last)
        return History(
            evaluations=list(self._evaluations),
            early_stop_iteration=best.iteration,
            early_stop_test_accuracy=early_stop_test,
            final_test_accuracy=final_test,
            final_train_accuracy=final_train,
            seconds=self._seconds + time.perf_counter() - start,
        )

    def accuracy(self, split: str) -> float:
        """Returns the model's accuracy on "train", "validation" or "test"."""
        images, labels = self._splits[split]
        correct = 0
        for start in range(0, int(labels.shape[0]), self._evaluation_batch):
            batch = images[start : start + self._evaluation_batch]
            truth = labels[start : start + self._evaluation_batch]
            # Of one shape for all splits, so that it is compiled once; no logit is at -1.
            missing = self._evaluation_batch - int(truth.shape[0])
            batch = tf.pad(batch, ((0, missing), (0, 0), (0, 0), (0, 0)))
            truth = tf.pad(truth, ((0, missing),), constant_values=-1)
            correct += int(self._count_correct(batch, truth))
        return correct / int(labels.shape[0])

    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to go on from here, bit for bit."""
        arrays = {f"weight/{path}": to_numpy(v) for path, v in self._weights.items()}
        for name, variables in self._state_lists().items():
            arrays.update({f"{name}/{i}": to_numpy(v) for i, v in enumerate(variables)})
        for name, column in to_columns(self._evaluations).items():
            arrays[f"evaluation/{name}"] = column
        arrays["seconds"] = np.array(self._seconds)
        return arrays

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to a `state`; the masks must be those it was taken under."""
        for path, variable in self._weights.items():
            variable.assign(state[f"weight/{path}"])
        for name, variables in self._state_lists().items():
            for i, variable in enumerate(variables):
                variable.assign(state[f"{name}/{i}"])
        self._evaluations = from_columns(
            {
                name.removeprefix("evaluation/"): column
                for name, column in state.items()
                if name.startswith("evaluation/")
            }
        )
        self.iteration = self._evaluations[-1].iteration
        self._seconds = float(state["seconds"])

    def _state_lists(self) -> dict[str, list]:
        return {
            "optimizer": self._optimizer.variables,
            "best": [*self._best, self._best_loss],
        }

    def _assign(self, values: list) -> None:
        for variable, value in zip(self._weights.values(), values, strict=True):
            variable.assign(value)

    def _advance(self, count: int) -> Evaluation:
        """Trains `count` iterations and evaluates."""
        start = time.perf_counter()
        # Always of one shape, so that the last, shorter interval is no new trace.
        batches = self._order.indices(self.iteration, self._config.eval_interval)
        loss_sum, bad, loss, correct = self._train(
            tf.constant(batches), tf.constant(self.iteration), tf.constant(count)
        )
        if int(bad) >= 0:
            raise RunError(
                f"The loss is not finite at iteration {int(bad) + 1}. "
                "Try a smaller --learning_rate."
            )
        self.iteration += count
        interval = self._config.test_interval
        evaluation = Evaluation(
            iteration=self.iteration,
            train_loss=float(loss_sum) / count if count else None,
            validation_loss=float(loss),
            validation_accuracy=int(correct) / int(self._splits["validation"][1].shape[0]),
            test_accuracy=(
                self.accuracy("test") if interval and self.iteration % interval == 0 else None
            ),
        )
        if not np.isfinite(evaluation.validation_loss):
            raise RunError(
                f"The validation loss is not finite at iteration {self.iteration}. "
                "Try a smaller --learning_rate."
            )
        self._evaluations.append(evaluation)
        self._seconds += time.perf_counter() - start
        return evaluation

    @pruned_are_zero()
    def _train_interval(
        self, batches: tf.Tensor, first: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, ...]:
        """Trains on the first `count` rows of `batches`, then evaluates."""
        self.traces += 1
        images, labels = self._splits["train"]

        def body(i, loss_sum, bad):
            rows = batches[i]
            loss = self._step(tf.gather(images, rows), tf.gather(labels, rows), first + i)
            failed = tf.logical_and(bad < 0, tf.logical_not(tf.math.is_finite(loss)))
            return i + 1, loss_sum + loss, tf.where(failed, first + i, bad)

        _, loss_sum, bad = tf.while_loop(
            lambda i, *_: i < count,
            body,
            (tf.constant(0), tf.constant(0.0), tf.constant(-1)),
            parallel_iterations=1,
        )
        loss, correct = self._evaluate(self._splits["validation"])
        better = loss < self._best_loss
        for best, variable in zip(self._best, self._weights.values(), strict=True):
            best.assign(tf.where(better, variable.value, best))
        self._best_loss.assign(tf.where(better, loss, self._best_loss))
        return loss_sum, bad, loss, correct

    def _step(self, images: tf.Tensor, labels: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
        """Makes one optimizer update and returns the loss before it."""
        for number, state in enumerate(self._random_states):
            seed = stream_seed(self._config.seed, "dropout", number)
            # A layer may draw more than once an iteration.
            state.assign(tf.cast(tf.stack([seed, iteration * 1024]), state.dtype))
        if self._config.augment:
            seed = stream_seed(self._config.seed, "augment")
            images = augment(images, tf.stack([seed, iteration * 2]))
        if self._schedule is not None:
            # Of the iteration, not of the optimizer's count of its own updates, which
            # starts at 0 after rewinding: Adam's bias correction goes with its slots.
            self._optimizer.learning_rate.assign(self._schedule(iteration))
        with tf.GradientTape() as tape:
            loss = self._loss(labels, self._model(normalize(images), training=True))
        variables = self._model.trainable_variables
        gradients = tape.gradient(loss, variables)
        if self._config.weight_decay:
            gradients = [
                g + self._config.weight_decay * v.value if len(v.shape) > 1 else g
                for g, v in zip(gradients, variables, strict=True)
            ]
        self._optimizer.apply(gradients, variables)
        return loss

    @pruned_are_zero()
    def _evaluate(self, split: tuple[tf.Tensor, tf.Tensor]) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the mean loss of a split and how many examples are right."""
        images, labels = split
        examples = int(labels.shape[0])
        whole = examples // self._evaluation_batch

        def measure(start, size, totals):
            loss, correct = totals
            batch = tf.slice(images, (start, 0, 0, 0), (size, *images.shape[1:]))
            truth = tf.slice(labels, (start,), (size,))
            logits = self._model(normalize(batch), training=False)
            losses = keras.ops.sparse_categorical_crossentropy(truth, logits, from_logits=True)
            return loss + tf.reduce_sum(losses), correct + _right(logits, truth)

        totals = (tf.constant(0.0), tf.constant(0))
        if whole:
            _, totals = tf.while_loop(
                lambda i, _: i < whole,
                lambda i, t: (
                    i + 1,
                    measure(i * self._evaluation_batch, self._evaluation_batch, t),
                ),
                (tf.constant(0), totals),
                parallel_iterations=1,
            )
        if examples % self._evaluation_batch:
            start = whole * self._evaluation_batch
            totals = measure(start, examples - start, totals)
        loss, correct = totals
        return loss / examples, correct

    @pruned_are_zero()
    def _right_of_batch(self, images: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
        return _right(self._model(normalize(images), training=False), labels)


def _right(logits: tf.Tensor, labels: tf.Tensor) -> tf.Tensor:
    return tf.reduce_sum(tf.cast(tf.equal(tf.argmax(logits, -1, tf.int32), labels), tf.int32))


def make_optimizer(config: ExperimentConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer that a config asks for, at its rate before any schedule."""
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    momentum = config.momentum if config.optimizer == "momentum" else 0.0
    return keras.optimizers.SGD(config.learning_rate, momentum=momentum)


def uses_jit(model: keras.Model, jit: str) -> bool:
    """Returns whether a model is compiled with XLA under "auto", "on" or "off"."""
    if jit != "auto":
        return jit == "on"
    if tf.config.list_physical_devices("GPU"):
        return True
    return not any(isinstance(layer, CONVOLUTIONS) for layer in model._flatten_layers())


def _on_device(split: Split) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.constant(split.images), tf.constant(split.labels)
