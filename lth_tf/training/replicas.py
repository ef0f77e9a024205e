"""One update shared out over several devices, or machines, through tf.distribute."""

from typing import Any

import keras
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.masking.layers import layers_of
from lth_tf.masking.model import random_states
from lth_tf.methods.hooks import Hooks
from lth_tf.training.step import Step


class ReplicatedStep:
    """A step of which each replica makes its part of the batch; the batch stays what it was.

    Every replica has all examples and takes its part of each batch by its number. Gradients are
    added up over them by Keras's optimizer, and batch normalization takes the statistics of the
    whole batch, so that the results are those of one device up to rounding.

    Args:
        step: made, as its model was, inside the strategy's scope.
        model: what is trained.
        strategy: how variables are kept the same.
    """

    def __init__(self, step: Step, model: keras.Model, strategy: tf.distribute.Strategy):
        self._step, self._strategy = step, strategy
        self._replicas = strategy.num_replicas_in_sync
        for layer in layers_of(model):
            if isinstance(layer, keras.layers.BatchNormalization):
                layer.synchronized = True

    def state(self) -> dict[str, list[Any]]:
        """Returns the step's variables."""
        return self._step.state()

    def restart(self, iteration: int) -> None:
        """Restarts the step."""
        self._step.restart(iteration)

    def update(self, inputs: tf.Tensor, labels: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
        """Makes one update of all replicas and returns the loss of the whole batch before it."""

        def of_part(inputs: tf.Tensor, labels: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
            return self._step.update(self._part(inputs), self._part(labels), iteration)

        losses = self._strategy.run(of_part, (inputs, labels, iteration))
        # Each is already divided by the number of replicas, as its gradients are.
        return self._strategy.reduce("SUM", losses, axis=None)

    def measure(self, inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the batch's summed loss and which of its labels are predicted."""
        if labels.shape[0] % self._replicas:
            # What does not divide is evaluated by each.
            found = self._strategy.run(self._step.measure, (inputs, labels))
            loss, correct = (self._strategy.experimental_local_results(each)[0] for each in found)
            return loss, correct

        def of_part(inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            loss, correct = self._step.measure(self._part(inputs), self._part(labels))
            return loss, tf.cast(correct, tf.int32)

        losses, correct = self._strategy.run(of_part, (inputs, labels))
        loss = self._strategy.reduce("SUM", losses, axis=None)
        return loss, tf.cast(self._strategy.gather(correct, axis=0), tf.bool)

    def _part(self, batch: tf.Tensor) -> tf.Tensor:
        replica = tf.distribute.get_replica_context().replica_id_in_sync_group
        size = batch.shape[0] // self._replicas
        part = tf.slice(
            batch,
            tf.concat([[replica * size], tf.zeros(batch.shape.rank - 1, tf.int32)], 0),
            (size, *batch.shape[1:]),
        )
        return tf.ensure_shape(part, (size, *batch.shape[1:]))


def check(model: keras.Model, config: ExperimentConfig, hooks: Hooks | None, replicas: int) -> None:
    """Refuses what several replicas would not do as one device does it.

    Raises:
        UsageError: if the batch does not divide, or a method, dropout or float16 is in the way.
    """
    obstacle = ""
    if config.batch_size % replicas:
        obstacle = f"batch_size={config.batch_size}"
    elif hooks is not None and type(hooks) is not Hooks:
        obstacle = "a method that changes updates"
    elif random_states(model):
        obstacle = "a network with dropout"
    elif config.precision == "mixed_float16":
        obstacle = "precision='mixed_float16'"
    if obstacle:
        raise UsageError(
            f"Expected a batch that {replicas} replicas share evenly, without dropout, float16 "
            f"and methods that change updates. Received: {obstacle}. Use devices='one'.",
            arguments=("devices",),
        )
