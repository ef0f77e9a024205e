"""Drives the compiled loop: one training after the other, interval by interval."""

import time
from collections.abc import Callable, Iterator

import keras
import numpy as np
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.errors import RunError
from lth_tf.masking.layers import CONVOLUTIONS, layers_of
from lth_tf.masking.model import to_numpy, weight_variables, zero_pruned
from lth_tf.methods.hooks import Hooks
from lth_tf.runs.history import Correct, Evaluation, History, chance, from_columns, to_columns
from lth_tf.training.batches import Examples, InMemoryBatches
from lth_tf.training.loop import CompiledLoop
from lth_tf.training.step import DenseStep, Step


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
        step: makes the step of a model, a config and hooks.

    Attributes:
        model: what is trained.
        iteration: optimizer updates made since initialization.

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
        step: Callable[[keras.Model, ExperimentConfig, Hooks | None], Step] = DenseStep,
    ):
        self.model = model
        self._config = config
        self._hooks = hooks or Hooks()
        self._chance = chance(data.test.labels)
        self._weights = weight_variables(model)
        self._step = step(model, config, hooks)
        self._loop = CompiledLoop(
            model,
            self._step,
            InMemoryBatches(data.train, data.preprocessing, config),
            {
                name: Examples(getattr(data, name), data.preprocessing)
                for name in ("train", "validation", "test")
            },
            jit=uses_jit(model, jit),
            length=config.eval_interval,
            tests=bool(config.test_interval),
        )
        self.restart()

    @property
    def traces(self) -> int:
        """How often a program of the loop was traced, at most: 1 is never anew."""
        return self._loop.traces

    def restart(self, iteration: int = 0) -> None:
        """Starts a training at `iteration` from the weights the model has now.

        The optimizer's slots are cleared and the learning rate is that of
        `iteration`.
        """
        zero_pruned(self.model)
        self._step.restart(iteration)
        self._loop.restart()
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
        """Returns the metrics recorded during the training; tests the best and the last weights."""
        start = time.perf_counter()
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
            correct=correct,
        )

    def accuracy(self, split: str) -> float:
        """Returns the model's accuracy on "train", "validation" or "test"."""
        return self._loop.accuracy(split)

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
        return {**self._step.state(), **self._loop.state()}

    def _advance(self, count: int) -> Evaluation:
        """Trains `count` iterations and evaluates."""
        start = time.perf_counter()
        test_interval = self._config.test_interval
        end = self.iteration + count
        if self.iteration < self._hooks.early_stop_from <= end:
            self._loop.restart()
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


def uses_jit(model: keras.Model, jit: str) -> bool:
    """Returns whether a model is compiled with XLA under "auto", "on" or "off"."""
    if jit != "auto":
        return jit == "on"
    if tf.config.list_physical_devices("GPU"):
        return True
    return not any(isinstance(layer, CONVOLUTIONS) for layer in layers_of(model))
