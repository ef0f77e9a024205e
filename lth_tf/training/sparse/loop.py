"""Trains and evaluates a network of dense layers on its remaining weights."""

import math
from collections.abc import Iterator, Mapping

import keras
import numpy as np

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data, Preprocessing, Split
from lth_tf.masking.variables import store, stored_value
from lth_tf.methods.hooks import Hooks
from lth_tf.training.batches import batch_order
from lth_tf.training.loop import Interval
from lth_tf.training.schedules import schedule
from lth_tf.training.sparse import kernels
from lth_tf.training.sparse.chain import links_of
from lth_tf.training.sparse.network import DenseLayer, padded, remaining

_MOMENTS = ("first_moment", "second_moment")


class SparseLoop:
    """A `Loop` whose costs are those of the weights that are left.

    The same batches, losses and updates as the dense step's, up to rounding, and the same
    bits whenever it is run, whatever the number of threads: it uses one.

    Args:
        model: a chain of dense layers.
        data: what to train, validate and test on.
        config: batch size, optimizer, weight decay, learning rates and seed.
        hooks: what a method adds; must be nothing.

    Raises:
        UsageError: if the model, or how it is trained, is not for this loop.
    """

    def __init__(
        self, model: keras.Model, data: Data, config: ExperimentConfig, hooks: Hooks | None = None
    ):
        self._links = links_of(model, data, config, hooks)
        self._config = config
        self._schedule = schedule(config)
        self._rule = kernels.Rule(
            config.optimizer == "adam",
            np.float32(config.momentum if config.optimizer == "momentum" else 0),
            np.float32(config.weight_decay),
        )
        self._order = batch_order(len(data.train), config)
        self._data = {
            name: _stored(getattr(data, name), data.preprocessing)
            for name in ("train", "validation", "test")
        }
        self.restart(0)

    def restart(self, iteration: int) -> None:
        """Takes what the masks leave of the model; nothing depends on the iteration."""
        self._left = remaining(
            [
                DenseLayer(link.mask(), link.relu, link.layer.bias is not None)
                for link in self._links
            ]
        )
        self._room = self._left.room()
        value = self._read()
        self._state = kernels.State(
            value,
            first_moment=np.zeros_like(value),
            second_moment=np.zeros(len(value) if self._rule.adam else 0, np.float32),
            gradient=np.zeros_like(value),
        )
        self._best = value.copy()
        self._updates = 0
        self._written = True
        self.forget_best()

    def forget_best(self) -> None:
        """Lets the best validation loss be that of the next evaluation."""
        self._best_loss = math.inf

    def interval(self, first: int, count: int, tested: bool) -> Interval:
        """Makes updates and evaluates."""
        loss_sum, bad = self._train(first, count) if count else (0.0, -1)
        total, correct = self._evaluate("validation", self._state.value)
        loss = total / len(correct)
        if loss < self._best_loss:
            self._best_loss = loss
            self._best[:] = self._state.value
        test = self._evaluate("test", self._state.value)[1].mean() if tested else None
        return Interval(
            train_loss=float(loss_sum) / count if count else None,
            not_finite=first + bad if bad >= 0 else None,
            validation_loss=loss,
            validation_accuracy=float(correct.mean()),
            test_accuracy=None if test is None else float(test),
        )

    def outcome(self) -> tuple[float, dict[str, np.ndarray]]:
        """Evaluates the last and the best weights."""
        last = self._state.value
        found = {
            name: self._evaluate("test", value)[1]
            for name, value in (("early_stop", self._best), ("final", last))
        }
        return float(self._evaluate("train", last)[1].mean()), found

    def evaluate(self, split: str) -> tuple[float, float]:
        """Returns the mean loss and the accuracy of the model's weights on a split."""
        self.write_back()
        loss, correct = self._evaluate(split, self._read())
        return float(loss) / len(correct), float(correct.mean())

    def write_back(self) -> None:
        """Puts the weights into the model, if they have changed since."""
        if self._written:
            return
        for array, entries, part in self._parts():
            array.reshape(-1)[entries] = self._state.value[part]
        for link, (kernel, bias) in zip(self._links, self._arrays, strict=True):
            store(link.layer.kernel, kernel)
            if link.layer.bias is not None:
                store(link.layer.bias, bias)
        self._written = True

    def state(self) -> dict[str, np.ndarray]:
        """Returns what the optimizer knows of the remaining weights, and the best weights."""
        return {
            "sparse/first_moment": self._state.first_moment.copy(),
            "sparse/second_moment": self._state.second_moment.copy(),
            "sparse/updates": np.array(self._updates),
            "sparse/best": self._best.copy(),
            "sparse/best_loss": np.array(self._best_loss),
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes back to a `state`."""
        self.restart(0)
        self._state.first_moment[:] = state["sparse/first_moment"]
        self._state.second_moment[:] = state["sparse/second_moment"]
        self._updates = int(state["sparse/updates"])
        self._best[:] = state["sparse/best"]
        self._best_loss = float(state["sparse/best_loss"])

    def _train(self, first: int, count: int) -> tuple[float, int]:
        rates = self._rates(first, count)
        self._updates += count
        self._written = False
        return kernels.train(
            self._left.layout,
            self._data["train"],
            self._rule,
            self._state,
            self._room,
            self._order.indices(first, count),
            rates,
        )

    def _evaluate(self, split: str, value: np.ndarray) -> tuple[float, np.ndarray]:
        """Returns the summed loss of a split, and which of its labels are predicted."""
        data = self._data[split]
        correct = np.zeros(len(data.labels), bool)
        return kernels.evaluate(self._left.layout, data, value, self._room, correct), correct

    def _rates(self, first: int, count: int) -> np.ndarray:
        """Returns float32 [count]: the step sizes from an iteration on, Adam's correction included.

        The schedule is of the iteration, Adam's correction of the updates since `restart`.
        """
        rates = np.full(count, self._config.learning_rate, np.float32)
        if self._schedule is not None:
            rates = keras.ops.convert_to_numpy(self._schedule(np.arange(first, first + count)))
        if self._rule.adam:
            made = np.arange(self._updates + 1, self._updates + count + 1, dtype=np.float32)
            one = np.float32(1)
            rates = rates * np.sqrt(one - np.float32(0.999) ** made)
            rates = rates / (one - np.float32(0.9) ** made)
        return rates

    def _read(self) -> np.ndarray:
        """Returns the values of the model's remaining weights, and keeps all of them."""
        self._arrays = [
            (
                stored_value(link.layer.kernel),
                np.zeros(link.layer.units, np.float32)
                if link.layer.bias is None
                else stored_value(link.layer.bias),
            )
            for link in self._links
        ]
        return np.concatenate([array.reshape(-1)[entries] for array, entries, _ in self._parts()])

    def _parts(self) -> Iterator[tuple[np.ndarray, np.ndarray, slice]]:
        """Yields an array of weights, entries of it, and where their values are."""
        kernels_, biases = zip(*self._arrays, strict=True)
        others = (
            self._left.others if self._rule.decay > 0 else [np.zeros(0, np.int64)] * len(kernels_)
        )
        at = 0
        for arrays, indices in (
            (kernels_, self._left.weights),
            (kernels_, others),
            (biases, self._left.units),
        ):
            for array, entries in zip(arrays, indices, strict=True):
                yield array, entries, slice(at, at + len(entries))
                at += len(entries)


def _stored(split: Split, preprocessing: Preprocessing) -> kernels.Data:
    """Returns a split as the compiled functions read it."""
    inputs = split.inputs.reshape(len(split), -1)
    size = padded(inputs.shape[1])
    if size != inputs.shape[1]:
        inputs = np.pad(inputs, ((0, 0), (0, size - inputs.shape[1])))
    return kernels.Data(
        np.ascontiguousarray(inputs).reshape(-1),
        np.uint64(size),
        np.ascontiguousarray(split.labels, np.int32),
        np.float32(1 / float(np.asarray(preprocessing.divisor or 1))),
    )
