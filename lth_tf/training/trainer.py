"""Drives a loop: one training after the other, interval by interval."""

import time
from collections.abc import Iterator

import keras
import numpy as np

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.errors import RunError
from lth_tf.masking.layers import layers_of
from lth_tf.masking.model import to_numpy, weight_variables, zero_pruned
from lth_tf.masking.variables import store
from lth_tf.methods.hooks import Hooks
from lth_tf.runs.history import Correct, Evaluation, History, chance, from_columns, to_columns
from lth_tf.training.choice import Loops, StepMaker
from lth_tf.training.loop import Loop


class Trainer:
    """Trains a model again and again, each time from the weights it has.

    Args:
        model: a Keras model that returns logits, masked or not.
        data: what to train, validate and test on.
        config: iterations, batch size, optimizer, intervals and seed.
        jit: compile with XLA: "on", "off", or "auto", which is on for
            accelerators, and on a CPU if the model has no convolution (there XLA
            is 2x faster for dense layers and over 100x slower for convolutions).
        hooks: what a method adds to an update.
        step: "dense"; "sparse", which trains the remaining weights of dense layers alone and
            differs by rounding; "auto", the faster one of the two, as a timing finds where a
            training restarts; or what makes a `Step` of a model, a config and hooks.

    Attributes:
        model: what is trained. Its weights are those of the training once `evaluations` is
            gone through, and after `state`, `history` and `accuracy`.
        iteration: optimizer updates made since initialization.
        step: "dense" or "sparse": how this training is made.
        timed: whether a timing has decided that.

    Example::

        trainer = Trainer(model, data, config)
        history = trainer.fit()
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        config: ExperimentConfig,
        jit: str = "auto",
        *,
        hooks: Hooks | None = None,
        step: str | StepMaker = "dense",
    ):
        self.model = model
        self._config = config
        self._hooks = hooks or Hooks()
        self._chance = chance(data.test.labels)
        self._data = data
        self._weights = weight_variables(model)
        self._loops = Loops(model, data, config, jit, hooks, step)
        self.restart(step="dense" if step == "auto" else None)

    @property
    def traces(self) -> int:
        """How often a program of the compiled loop was traced, at most: 1 is never anew."""
        return self._loops.traces

    def restart(self, iteration: int = 0, step: str | None = None) -> None:
        """Starts a training at `iteration` from the weights the model has now.

        The optimizer's slots are cleared and the learning rate is that of
        `iteration`.

        Args:
            iteration: updates made before.
            step: "dense" or "sparse", in place of what the Trainer was made with or
                would choose.
        """
        zero_pruned(self.model)
        self.step, self.timed = (step, False) if step else self._loops.choose(iteration)
        self._loop.restart(iteration)
        self.iteration = iteration
        self._evaluations: list[Evaluation] = []
        self._seconds = 0.0

    @property
    def _loop(self) -> Loop:
        return self._loops.named(self.step)

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
        interval = self._config.eval_interval
        try:
            if not self._evaluations:
                yield self._advance(0)
            while self.iteration < until:
                count = min(interval - self.iteration % interval, until - self.iteration)
                yield self._advance(count)
        finally:
            self._loop.write_back()

    def history(self) -> History:
        """Returns the metrics recorded during the training; tests the best and the last weights."""
        start = time.perf_counter()
        self._loop.write_back()
        counted = [e for e in self._evaluations if e.iteration >= self._hooks.early_stop_from]
        best = min(counted, key=lambda e: e.validation_loss)
        train_accuracy, predicted = self._loop.outcome()
        correct = Correct(**predicted, chance=self._chance)
        return History(
            evaluations=list(self._evaluations),
            early_stop_iteration=best.iteration,
            early_stop_test_accuracy=correct.accuracy("early_stop"),
            final_test_accuracy=correct.accuracy("final"),
            final_train_accuracy=train_accuracy,
            seconds=self._seconds + time.perf_counter() - start,
            step=self.step,
            correct=correct,
        )

    def accuracy(self, split: str) -> float:
        """Returns the model's accuracy on "train", "validation" or "test"."""
        return self.evaluate(split)[1]

    def evaluate(self, split: str) -> tuple[float, float]:
        """Returns the model's mean loss and its accuracy on "train", "validation" or "test"."""
        return self._loop.evaluate(split)

    def settle_statistics(self, batches: int = 20) -> None:
        """Makes the statistics of batch normalization those of training examples, batch by batch.

        They are the means of the batches' own means and variances: nothing is left of what they
        were, unlike after as many updates of a training.

        Args:
            batches: of 100 examples, the first of the training set.
        """
        norms = [n for n in layers_of(self.model) if isinstance(n, keras.layers.BatchNormalization)]
        if not norms:
            return
        train, momenta = self._data.train, [norm.momentum for norm in norms]
        try:
            for number, start in enumerate(range(0, min(len(train), 100 * batches), 100)):
                for norm in norms:
                    norm.momentum = number / (number + 1)
                chosen = np.arange(start, min(start + 100, len(train)))
                inputs = keras.ops.convert_to_tensor(train.read(chosen).inputs)
                self.model(self._data.preprocessing(inputs), training=True)
        finally:
            for norm, momentum in zip(norms, momenta, strict=True):
                norm.momentum = momentum

    def state(self) -> dict[str, np.ndarray]:
        """Returns everything that `restore` needs to go on from here, bit for bit."""
        self._loop.write_back()
        arrays = {f"weight/{path}": to_numpy(v) for path, v in self._weights.items()}
        arrays |= self._loop.state()
        for name, column in to_columns(self._evaluations).items():
            arrays[f"evaluation/{name}"] = column
        arrays["seconds"], arrays["step"] = np.array(self._seconds), np.array(self.step)
        return arrays

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Goes back to a `state`, and to its step; the masks must be those it was taken under."""
        for path, variable in self._weights.items():
            # As they are: the masks that hooks have changed come after them.
            store(variable, state[f"weight/{path}"])
        self.step = str(state.get("step", "dense"))
        self._loop.restore(state)
        self._evaluations = from_columns(
            {
                name.removeprefix("evaluation/"): column
                for name, column in state.items()
                if name.startswith("evaluation/")
            }
        )
        self.iteration = self._evaluations[-1].iteration
        self._seconds = float(state["seconds"])

    def _advance(self, count: int) -> Evaluation:
        """Trains `count` iterations and evaluates."""
        start = time.perf_counter()
        test_interval = self._config.test_interval
        end = self.iteration + count
        if self.iteration < self._hooks.early_stop_from <= end:
            self._loop.forget_best()
        found = self._loop.interval(
            self.iteration, count, tested=bool(test_interval) and end % test_interval == 0
        )
        if found.not_finite is not None:
            raise _not_finite("loss", found.not_finite + 1)
        self.iteration = end
        if not np.isfinite(found.validation_loss):
            raise _not_finite("validation loss", end)
        evaluation = Evaluation(
            iteration=end,
            train_loss=found.train_loss,
            validation_loss=found.validation_loss,
            validation_accuracy=found.validation_accuracy,
            test_accuracy=found.test_accuracy,
        )
        self._evaluations.append(evaluation)
        self._seconds += time.perf_counter() - start
        return evaluation


def _not_finite(what: str, iteration: int) -> RunError:
    return RunError(
        f"The {what} is not finite at iteration {iteration}. Try a smaller learning_rate.",
        arguments=("learning_rate",),
    )
