"""Derivatives of a network for criteria that ask for them."""

import abc
import contextlib
from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.masking.arrays import Masks
from lth_tf.masking.layers import layers_of
from lth_tf.masking.model import slots_of, weight_variables
from lth_tf.seeding import BatchOrder, stream_seed

Arrays = dict[str, np.ndarray]
Tensors = dict[str, tf.Tensor]

EXAMPLES_PER_CLASS = 10
_BATCH = 500
ZERO = tf.UnconnectedGradients.ZERO


class Derivatives(abc.ABC):
    """Gradients and Hessian products of a masked network, in inference mode.

    Weights are handed over by value: nothing of the model changes. What the network is and
    which loss is differentiated says a subclass.
    """

    @property
    @abc.abstractmethod
    def model(self) -> keras.Model:
        """The masked network; what its variables hold does not matter."""

    @abc.abstractmethod
    def batches(self) -> Iterator[tuple[Any, float]]:
        """Yields batches of examples, and their shares of all of them."""

    @abc.abstractmethod
    def loss(self, batch: Any, temperature: float) -> tf.Tensor:
        """Returns the mean loss of a batch and the model's own losses.

        Args:
            batch: one of `batches`.
            temperature: what logits are divided by.
        """

    @abc.abstractmethod
    def ones(self) -> Any:
        """Returns an input of ones, one example, in float64."""

    def gradients(self, weights: Arrays, masks: Masks, temperature: float = 1.0) -> Arrays:
        """Returns path -> gradient of the loss; see `lth_tf.pruning.context.Network`."""
        total: Arrays = {}
        for batch, share in self.batches():
            values = _effective(weights, masks, "float32")
            at = {path: values[path] for path in masks}
            with tf.GradientTape() as tape:
                tape.watch(at)
                loss = self._loss(values | at, batch, temperature)
            _add(total, tape.gradient(loss, at, unconnected_gradients=ZERO), share)
        return total

    def hessian_product(
        self, weights: Arrays, masks: Masks, direction: Arrays, temperature: float = 1.0
    ) -> Arrays:
        """Returns path -> Hessian * direction; see `lth_tf.pruning.context.Network`."""
        along = {path: tf.constant(direction[path], tf.float32) for path in masks}
        total: Arrays = {}
        for batch, share in self.batches():
            values = _effective(weights, masks, "float32")
            at = {path: values[path] for path in masks}
            with tf.GradientTape() as outer:
                outer.watch(at)
                with tf.GradientTape() as inner:
                    inner.watch(at)
                    loss = self._loss(values | at, batch, temperature)
                gradients = inner.gradient(loss, at, unconnected_gradients=ZERO)
                product = tf.add_n([tf.reduce_sum(gradients[p] * along[p]) for p in at])
            _add(total, outer.gradient(product, at, unconnected_gradients=ZERO), share)
        return total

    def flow_gradients(self, weights: Arrays, masks: Masks) -> Arrays:
        """Returns path -> gradient of the outputs' sum; see `lth_tf.pruning.context.Network`."""
        ones = self.ones()
        values = _effective(weights, masks, "float64")
        at = {path: values[path] for path in masks}
        with tf.GradientTape() as tape, _computing_in(self.model, "float64"):
            tape.watch(at)
            with self._with_weights(values | at):
                outputs = keras.tree.flatten(self.model(ones, training=False))
            flow = tf.add_n([tf.reduce_sum(output) for output in outputs])
        gradients = tape.gradient(flow, at, unconnected_gradients=ZERO)
        return {path: gradient.numpy() for path, gradient in gradients.items()}

    def _loss(self, values: Tensors, batch: Any, temperature: float) -> tf.Tensor:
        with _computing_in(self.model, "float32"), self._with_weights(values):
            return self.loss(batch, temperature)

    def _with_weights(self, values: Tensors) -> keras.StatelessScope:
        """Calls of the model are those of a network with these effective weights."""
        scope = keras.StatelessScope(collect_losses=True)
        for path, variable in weight_variables(self.model).items():
            # Not `state_mapping`, which would cast to the variable's type, and gradients with it.
            scope.add_update((variable, values[path]))
        for slot in slots_of(self.model).values():
            scope.add_update((slot.mask, tf.ones(slot.mask.shape, tf.bool)))
        return scope


class DataDerivatives(Derivatives):
    """Those of a network of the `Trainer`.

    The loss is the mean cross-entropy of the first training examples, in the order of training,
    by default ten a class.

    Args:
        make_model: returns the masked network; called when derivatives are first asked for.
        data: gives the examples.
        config: seed of their order.
        examples: of them, a class.

    Source:
        Tanaka et al. 2020, arXiv:2006.05467, code (ten examples a class, inference mode).
    """

    def __init__(
        self,
        make_model: Callable[[], keras.Model],
        data: Data,
        config: ExperimentConfig,
        examples: int = EXAMPLES_PER_CLASS,
    ):
        self._make_model = make_model
        self._data = data
        self._seed = config.seed
        self._examples = examples
        self._model: keras.Model | None = None

    @property
    def model(self) -> keras.Model:
        """The network."""
        if self._model is None:
            self._model = self._make_model()
        return self._model

    def batches(self) -> Iterator[tuple[Any, float]]:
        """Yields inputs and labels."""
        train = self._data.train
        count = min(len(train), self._examples * self._data.classes)
        order = BatchOrder(len(train), count, stream_seed(self._seed, "order")).indices(0, 1)[0]
        for start in range(0, count, _BATCH):
            row = order[start : start + _BATCH]
            chosen = train.read(row)
            inputs = self._data.preprocessing(tf.constant(chosen.inputs))
            yield (inputs, tf.constant(chosen.labels)), row.size / count

    def loss(self, batch: Any, temperature: float) -> tf.Tensor:
        """Returns the mean cross-entropy and the model's own losses."""
        inputs, labels = batch
        logits = self.model(inputs, training=False)
        mean = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        own = [tf.reduce_sum(loss) for loss in self.model.losses]
        return tf.add_n([mean(labels, logits / temperature), *own])

    def ones(self) -> tf.Tensor:
        """Returns an input of ones."""
        return tf.ones((1, *self._data.input_shape), tf.float64)


@contextlib.contextmanager
def _computing_in(model: keras.Model, dtype: str) -> Iterator[None]:
    """All layers compute in a type, whatever their policy is."""
    policies = [(layer, layer.dtype_policy) for layer in layers_of(model)]
    try:
        for layer, _ in policies:
            layer.dtype_policy = dtype
        yield
    finally:
        for layer, policy in policies:
            layer.dtype_policy = policy


def _effective(weights: Arrays, masks: Masks, dtype: str) -> Tensors:
    """Returns path -> effective weight."""
    return {
        path: tf.constant(value * masks[path] if path in masks else value, dtype)
        if value.dtype.kind == "f"
        else tf.constant(value)
        for path, value in weights.items()
    }


def _add(total: Arrays, part: Tensors, share: float) -> None:
    for path, value in part.items():
        total[path] = total.get(path, 0.0) + share * value.numpy()
