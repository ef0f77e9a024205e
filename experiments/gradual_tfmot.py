"""Prunes a network gradually with tensorflow-model-optimization. A program of its own.

Started by `experiments.gradual_learner`, because that package must not be imported where
Keras 3 is at work (see `lth_tf.to_tf_keras`):

    gradual_tfmot FOLDER

FOLDER holds model.keras, data.npz and job.json. Every evaluation is printed as a line
of JSON, the numbers of the whole training as the last; the weights go to weights.npz.
"""

import json
import pathlib
import sys
import time
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
import tf_keras

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Preprocessing, Split
from lth_tf.errors import RunError
from lth_tf.files import read_arrays, read_json, write_arrays
from lth_tf.lazy import lazy_imports
from lth_tf.seeding import stream_seed
from lth_tf.tensorflow_internals import in_fixed_order
from lth_tf.to_tf_keras import convert_model, convert_optimizer, converted_variables
from lth_tf.training import loop
from lth_tf.training.batches import Examples, InMemoryBatches
from lth_tf.training.optimizers import add_weight_decay, make_optimizer
from lth_tf.training.schedules import schedule
from lth_tf.training.step import loss_and_correct

with lazy_imports():  # once it is imported tf.keras is tf_keras, in pytest's process too
    import tensorflow_model_optimization as tfmot


class GradualTraining:
    """Trains a tf_keras model while tensorflow-model-optimization prunes it.

    Batches, loop, learning rate and weight decay are those of `lth_tf.training`.

    Args:
        model: the network at its initial weights.
        kept: weight path -> number of weights to keep in the end; other weights are
            not pruned.
        splits: "train", "validation" and "test" -> examples.
        preprocessing: what is done to inputs before the network.
        config: what to do.
        jit: compile with XLA.
    """

    def __init__(
        self,
        model: keras.Model,
        kept: dict[str, int],
        splits: dict[str, Split],
        preprocessing: Preprocessing,
        config: ExperimentConfig,
        jit: bool,
    ):
        self._config = config
        prunings = config.method.prunings(config.iterations)
        at_once = config.method.prune_schedule == "constant"
        self._last_pruning = config.method.settled(config.iterations)
        copy = convert_model(model)
        self._weights = converted_variables(model, copy)
        self._model = _with_pruning(copy, self._weights, kept, prunings, at_once)
        self._masks = _masks(self._model, self._weights)
        self._batches = InMemoryBatches(splits["train"], preprocessing, config)
        self._examples = {name: Examples(split, preprocessing) for name, split in splits.items()}
        self._optimizer = convert_optimizer(make_optimizer(config))
        self._optimizer.build(self._model.trainable_variables)
        self._schedule = schedule(config)
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._train = tf.function(self._train_interval, jit_compile=jit, autograph=False)
        self._totals = tf.function(self._totals_of, jit_compile=jit, autograph=False)

    def evaluations(self) -> Iterator[dict[str, Any]]:
        """Trains to the last iteration, and yields an evaluation after every interval.

        Raises:
            RunError: if a loss is not finite.
        """
        config = self._config
        update_step = _update_step(self._model)
        self._best_loss: float = np.inf
        self._best: dict[str, np.ndarray] = {}
        yield self._evaluation(0, None)
        iteration = 0
        while iteration < config.iterations:
            count = min(config.eval_interval, config.iterations - iteration)
            # Always of one shape, so that the last, shorter interval is no new trace.
            feed = self._batches.feed(iteration, config.eval_interval)
            with in_fixed_order():
                loss, bad = self._train(feed, tf.constant(iteration), tf.constant(count))
            _refuse_non_finite(int(bad) < 0, "loss", int(bad) + 1)
            update_step.on_epoch_end(iteration)  # zeroes what the last update moved
            iteration += count
            yield self._evaluation(iteration, float(loss) / count)

    def outcome(self) -> dict[str, Any]:
        """Returns the numbers of the whole training; tests the best and the last weights."""
        last = self.weights()
        found = {
            "early_stop_iteration": self._best_iteration,
            "final_test_accuracy": self._measure("test")[1],
            "final_train_accuracy": self._measure("train")[1],
        }
        self._assign(self._best)
        found["early_stop_test_accuracy"] = self._measure("test")[1]
        self._assign(last)
        return found

    def weights(self) -> dict[str, np.ndarray]:
        """Returns path -> array of every weight.

        Raises:
            RunError: if a weight that is pruned is not 0.
        """
        arrays = {path: variable.numpy() for path, variable in self._weights.items()}
        for path, mask in self._masks.items():
            wrong = np.count_nonzero(arrays[path][mask.numpy() == 0])
            if wrong:
                raise RunError(f"{wrong} pruned weights of {path!r} are not 0.")
        return arrays

    def _assign(self, weights: dict[str, np.ndarray]) -> None:
        for path, variable in self._weights.items():
            variable.assign(weights[path])

    def _evaluation(self, iteration: int, train_loss: float | None) -> dict[str, Any]:
        loss, accuracy = self._measure("validation")
        _refuse_non_finite(np.isfinite(loss), "validation loss", iteration)
        # Before the last pruning the network is not yet as small as it will be.
        if iteration >= self._last_pruning and loss < self._best_loss:
            self._best_loss, self._best_iteration = loss, iteration
            self._best = self.weights()
        interval = self._config.test_interval
        tested = bool(interval) and iteration % interval == 0
        return {
            "iteration": iteration,
            "train_loss": train_loss,
            "validation_loss": loss,
            "validation_accuracy": accuracy,
            "test_accuracy": self._measure("test")[1] if tested else None,
            "remaining": {path: int(np.count_nonzero(m)) for path, m in self._masks.items()},
        }

    def _measure(self, split: str) -> tuple[float, float]:
        """Returns the mean loss and the accuracy on a split."""
        with in_fixed_order():
            loss, correct = self._totals(split)
        labels = self._examples[split].labels
        return float(loss) / labels, int(correct) / labels

    def _totals_of(self, split: str) -> tuple[tf.Tensor, tf.Tensor]:
        def measure(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            return loss_and_correct(self._model(inputs, training=False), labels)

        return loop.totals(measure, self._examples[split])

    def _train_interval(
        self, feed: tf.Tensor, first: tf.Tensor, count: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        return loop.train(self._update, self._batches, feed, first, count)

    def _update(self, inputs: tf.Tensor, labels: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
        """Makes one optimizer update and returns the loss before it."""
        if self._schedule is not None:
            self._optimizer.learning_rate.assign(self._schedule(iteration))
        with tf.GradientTape() as tape:
            # The wrapped layers count their steps, prune and zero their weights here.
            loss = self._loss(labels, self._model(inputs, training=True))
        variables = self._model.trainable_variables
        gradients = tape.gradient(loss, variables)
        gradients = add_weight_decay(gradients, variables, self._config.weight_decay)
        self._optimizer.apply_gradients(zip(gradients, variables, strict=True))
        return loss


def _with_pruning(
    model: tf_keras.Model,
    weights: dict[str, tf.Variable],
    kept: dict[str, int],
    prunings: range,
    at_once: bool,
) -> tf_keras.Model:
    """Returns the model with the layers of the weights in `kept` wrapped for pruning."""
    layers = {}
    for path, count in kept.items():
        pruned = 1 - count / int(tf.size(weights[path]))
        steps = {"begin_step": prunings[0], "end_step": prunings[-1], "frequency": prunings.step}
        layers[path.split("/")[-2]] = (
            tfmot.sparsity.keras.ConstantSparsity(pruned, **steps)
            if at_once
            else tfmot.sparsity.keras.PolynomialDecay(0.0, pruned, **steps)
        )

    def wrapped(layer: tf_keras.layers.Layer) -> tf_keras.layers.Layer:
        if layer.name not in layers:
            return layer
        return tfmot.sparsity.keras.prune_low_magnitude(layer, layers[layer.name])

    return tf_keras.models.clone_model(model, clone_function=wrapped)


def _masks(model: tf_keras.Model, weights: dict[str, tf.Variable]) -> dict[str, tf.Variable]:
    """Returns weight path -> the mask that pruning made of it."""
    paths = {id(variable): path for path, variable in weights.items()}
    return {
        paths[id(weight)]: mask
        for layer in model.layers
        for weight, mask, _ in getattr(layer, "pruning_vars", ())
    }


def _update_step(model: tf_keras.Model) -> Any:
    """Returns the callback without which nothing is pruned, at the start of a training."""
    callback = tfmot.sparsity.keras.UpdatePruningStep()
    callback.set_model(model)
    callback.on_train_begin()
    return callback


def _refuse_non_finite(finite: bool, what: str, iteration: int) -> None:
    if not finite:
        raise RunError(
            f"The {what} is not finite at iteration {iteration}. Try a smaller --learning_rate."
        )


def main(path: str) -> None:
    """Does the job that a folder describes."""
    start = time.perf_counter()
    folder = pathlib.Path(path)
    job, data = read_json(folder / "job.json"), read_arrays(folder / "data.npz")
    config = ExperimentConfig.from_json(job["config"])
    tf_keras.utils.set_random_seed(stream_seed(config.seed, "dropout"))
    training = GradualTraining(
        keras.models.load_model(folder / "model.keras", compile=False),
        job["kept"],
        {
            name: Split(data[f"{name}_x"], data[f"{name}_y"])
            for name in ("train", "validation", "test")
        },
        Preprocessing(**job["preprocessing"]),
        config,
        job["jit"],
    )
    for evaluation in training.evaluations():
        print(json.dumps(evaluation), flush=True)
    write_arrays(folder / "weights.npz", training.weights())
    print(json.dumps({**training.outcome(), "seconds": time.perf_counter() - start}))


if __name__ == "__main__":
    main(*sys.argv[1:])
