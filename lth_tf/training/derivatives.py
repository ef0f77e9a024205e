"""Derivatives of a network for criteria that ask for them."""

from collections.abc import Callable

import keras
import numpy as np
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.masking.arrays import Masks
from lth_tf.masking.model import slots_of, weight_variables
from lth_tf.seeding import BatchOrder, stream_seed

Arrays = dict[str, np.ndarray]
Tensors = dict[str, tf.Tensor]

EXAMPLES_PER_CLASS = 10
_BATCH = 500
ZERO = tf.UnconnectedGradients.ZERO


class Derivatives:
    """Gradients and Hessian products of a masked network, in inference mode.

    The loss is the mean cross-entropy of the first ten training examples a class, in the order
    of training, and the model's own losses. Weights are handed over by value: nothing of the
    model changes.

    Args:
        make_model: returns the masked network; called when derivatives are first asked for, and
            again for those in float64.
        data: gives the examples.
        config: seed of their order.

    Source:
        Tanaka et al. 2020, arXiv:2006.05467, code (ten examples a class, inference mode).
    """

    def __init__(self, make_model: Callable[[], keras.Model], data: Data, config: ExperimentConfig):
        self._make_model = make_model
        self._data = data
        self._seed = config.seed
        self._models: dict[str, keras.Model] = {}

    def gradients(self, weights: Arrays, masks: Masks, temperature: float = 1.0) -> Arrays:
        """Returns path -> gradient of the loss; see `lth_tf.pruning.context.Network`."""
        total: Arrays = {}
        for inputs, labels, share in self._batches():
            values = self._values(weights, masks, "float32")
            at = {path: values[path] for path in masks}
            with tf.GradientTape() as tape:
                tape.watch(at)
                loss = self._loss(values | at, inputs, labels, temperature)
            _add(total, tape.gradient(loss, at, unconnected_gradients=ZERO), share)
        return total

    def hessian_product(
        self, weights: Arrays, masks: Masks, direction: Arrays, temperature: float = 1.0
    ) -> Arrays:
        """Returns path -> Hessian * direction; see `lth_tf.pruning.context.Network`."""
        along = {path: tf.constant(direction[path], tf.float32) for path in masks}
        total: Arrays = {}
        for inputs, labels, share in self._batches():
            values = self._values(weights, masks, "float32")
            at = {path: values[path] for path in masks}
            with tf.GradientTape() as outer:
                outer.watch(at)
                with tf.GradientTape() as inner:
                    inner.watch(at)
                    loss = self._loss(values | at, inputs, labels, temperature)
                gradients = inner.gradient(loss, at, unconnected_gradients=ZERO)
                product = tf.add_n([tf.reduce_sum(gradients[p] * along[p]) for p in at])
            _add(total, outer.gradient(product, at, unconnected_gradients=ZERO), share)
        return total

    def flow_gradients(self, weights: Arrays, masks: Masks) -> Arrays:
        """Returns path -> gradient of the outputs' sum; see `lth_tf.pruning.context.Network`."""
        ones = tf.ones((1, *self._data.train.inputs.shape[1:]), tf.float64)
        values = self._values(weights, masks, "float64")
        at = {path: values[path] for path in masks}
        with tf.GradientTape() as tape:
            tape.watch(at)
            flow = tf.reduce_sum(self._outputs(values | at, ones, "float64")[0])
        gradients = tape.gradient(flow, at, unconnected_gradients=ZERO)
        return {path: gradient.numpy() for path, gradient in gradients.items()}

    def _network(self, dtype: str) -> keras.Model:
        """Returns the network, with variables of a type."""
        if dtype not in self._models:
            policy = keras.config.dtype_policy()
            keras.config.set_dtype_policy(dtype)
            try:
                self._models[dtype] = self._make_model()
            finally:
                keras.config.set_dtype_policy(policy)
        return self._models[dtype]

    def _batches(self):
        """Yields inputs, labels and their share of all the examples."""
        train = self._data.train
        count = min(len(train), EXAMPLES_PER_CLASS * self._data.classes)
        order = BatchOrder(len(train), count, stream_seed(self._seed, "order")).indices(0, 1)[0]
        for start in range(0, count, _BATCH):
            row = order[start : start + _BATCH]
            inputs = self._data.preprocessing(tf.constant(train.inputs[row]))
            yield inputs, tf.constant(train.labels[row]), row.size / count

    def _values(self, weights: Arrays, masks: Masks, dtype: str) -> Tensors:
        """Returns path -> effective weight."""
        return {
            path: tf.constant(value * masks[path] if path in masks else value, dtype)
            if value.dtype.kind == "f"
            else tf.constant(value)
            for path, value in weights.items()
        }

    def _outputs(
        self, values: Tensors, inputs: tf.Tensor, dtype: str = "float32"
    ) -> tuple[tf.Tensor, list[tf.Tensor]]:
        """Returns the outputs, and the losses of the model's own, with weights of these values."""
        model = self._network(dtype)
        mapping = [(variable, values[path]) for path, variable in weight_variables(model).items()]
        mapping += [
            (slot.mask, tf.ones(slot.mask.shape, tf.bool)) for slot in slots_of(model).values()
        ]
        with keras.StatelessScope(state_mapping=mapping, collect_losses=True) as scope:
            outputs = model(inputs, training=False)
        return outputs, list(scope.losses)

    def _loss(
        self, values: Tensors, inputs: tf.Tensor, labels: tf.Tensor, temperature: float
    ) -> tf.Tensor:
        logits, losses = self._outputs(values, inputs)
        losses = [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in losses]
        mean = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        return tf.add_n([mean(labels, logits / temperature), *losses])


def _add(total: Arrays, part: Tensors, share: float) -> None:
    for path, value in part.items():
        total[path] = total.get(path, 0.0) + share * value.numpy()
