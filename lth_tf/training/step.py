"""One update of the weights."""

from typing import Any, Protocol

import keras
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.masking.effective import pruned_are_zero
from lth_tf.masking.model import random_states, to_numpy
from lth_tf.methods.hooks import Hooks
from lth_tf.seeding import stream_seed
from lth_tf.training.batch_norm import normalizing_by
from lth_tf.training.named import Gradients, NamedVariables
from lth_tf.training.optimizers import add_weight_decay, make_optimizer
from lth_tf.training.precision import computing_in
from lth_tf.training.schedules import schedule


class Step(Protocol):
    """What the compiled loop needs of a step. Weights and masks are the model's variables.

    A step that cannot be traced, because it is no TensorFlow, replaces the loop as well.
    """

    def state(self) -> dict[str, list[Any]]:
        """Returns name -> variables that belong to a training beside the weights."""

    def restart(self, iteration: int) -> None:
        """Called on the host: the next update is the first of a training."""

    def update(self, inputs: tf.Tensor, labels: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
        """Makes one update and returns the loss before it, a float32 scalar. Traced."""

    def measure(self, inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns what `loss_and_correct` returns, for the weights as they are. Traced."""


class DenseStep:
    """Forward pass, loss, gradient and optimizer, as Keras computes them.

    Pruned weights are stored as 0 and stay 0, see `pruned_are_zero`. The loss is the mean
    cross-entropy of the batch plus whatever losses the model has itself (regularizers,
    activity regularizers, `add_loss`) plus that of the hooks.

    Args:
        model: returns logits [batch, ..., classes] for labels [batch, ...].
        config: optimizer, learning rates, weight decay and seed.
        hooks: what a method adds.
    """

    def __init__(self, model: keras.Model, config: ExperimentConfig, hooks: Hooks | None = None):
        self._model = model
        self._config = config
        self._hooks = hooks or Hooks()
        self._loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        self._optimizer = make_optimizer(config)
        if config.precision == "mixed_float16":
            # Small gradients are 0 in float16.
            self._optimizer = keras.optimizers.LossScaleOptimizer(self._optimizer)
        self._schedule = schedule(config)
        self._variables = [*model.trainable_variables, *self._hooks.trainable_variables]
        self._optimizer.build(self._variables)
        self._fresh_optimizer = [to_numpy(v) for v in self._optimizer.variables]
        self._named_variables = NamedVariables(model, self._optimizer, self._variables)
        self._hooks.optimizer_slots = self._named_variables.slots
        self._random_states = random_states(model)
        self._replicas = tf.distribute.get_strategy().num_replicas_in_sync

    def state(self) -> dict[str, list[Any]]:
        """Returns the optimizer's variables and those of the hooks."""
        return {
            "optimizer": self._optimizer.variables,
            "hooks": [*self._hooks.variables, *self._hooks.trainable_variables],
        }

    def restart(self, iteration: int) -> None:
        """Clears the optimizer's slots and lets the hooks set their variables."""
        for variable, value in zip(self._optimizer.variables, self._fresh_optimizer, strict=True):
            variable.assign(value)
        self._hooks.restart(iteration)

    @pruned_are_zero()
    def update(self, inputs: tf.Tensor, labels: tf.Tensor, iteration: tf.Tensor) -> tf.Tensor:
        """Makes one optimizer update and returns the loss before it."""
        self._set_random_states(iteration)
        self._hooks.before_update(iteration)
        self._set_learning_rate(iteration)
        with tf.GradientTape() as tape:
            with (
                computing_in(self._model, self._config.precision),
                normalizing_by(self._model, self._config.batch_norm),
            ):
                logits = self._model(inputs, training=True)
            extra = additional_losses(self._model)
            loss = self._hooks.loss(self._loss(labels, logits), inputs, logits, iteration)
            hooked = self._hooks.extra_loss(iteration)
            if hooked is not None:
                extra.append(tf.cast(hooked, loss.dtype))
            if self._replicas > 1:
                # As Keras's own loss: gradients are added up over replicas.
                extra = [each / self._replicas for each in extra]
            loss = tf.add_n([loss, *extra]) if extra else loss
            scaled = self._optimizer.scale_loss(loss)  # itself but for float16
        gradients = tape.gradient(
            scaled, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO
        )
        if self._config.precision == "mixed_float16":
            scale = self._optimizer.scale_loss(1.0)
            gradients = [gradient / scale for gradient in gradients]
        own = [(g, v) for g, v in zip(gradients, self._variables, strict=True) if not self._name(v)]
        soft = self._hooks.dense_gradients
        named = self._named(gradients, masked=bool(extra) and not soft)

        def apply(chosen: Gradients) -> None:
            self._apply(self._named_variables.masked(chosen) if soft else chosen, own)

        self._hooks.update(iteration, named, apply)
        self._hooks.after_update(iteration, self._named(gradients, masked=True) if soft else named)
        return loss

    def _set_learning_rate(self, iteration: tf.Tensor) -> None:
        # Of the iteration, not of the optimizer's count of its own updates, which starts
        # at 0 after rewinding: Adam's bias correction goes with its slots.
        rate = tf.constant(self._config.learning_rate)
        if self._schedule is not None:
            rate = self._schedule(iteration)
        changed = self._hooks.learning_rate(rate, iteration)
        if self._schedule is not None or changed is not rate:
            self._optimizer.learning_rate.assign(changed)

    def _apply(self, gradients: Gradients, own: list[tuple[tf.Tensor, Any]]) -> None:
        """Updates the variables whose gradients are given by name, and the hooks' own.

        What is left out is not touched: optimizers are built on all, and update any.
        """
        chosen = [(gradients[n], v) for v in self._variables if (n := self._name(v)) in gradients]
        values = [g for g, _ in (*chosen, *own)]
        variables = [v for _, v in (*chosen, *own)]
        if self._config.weight_decay:
            values = [
                add_weight_decay([g], [v], self._config.weight_decay / self._replicas)[0]
                if self._named_variables.is_weight(v) or not self._name(v)
                else g
                for g, v in zip(values, variables, strict=True)
            ]
        if self._config.precision == "mixed_float16":
            values = [g * self._optimizer.scale_loss(1.0) for g in values]
        # Of the graph that this is traced in: hooks may apply in a branch.
        self._optimizer.apply([tf.identity(g) for g in values], variables)

    @pruned_are_zero()
    def measure(self, inputs: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Returns the batch's summed loss and which of its labels are predicted."""
        with computing_in(self._model, self._config.precision):
            logits = self._model(inputs, training=False)
        loss, correct = loss_and_correct(logits, labels)
        for extra in additional_losses(self._model):
            loss += extra * labels.shape.num_elements()
        return loss, correct

    def _set_random_states(self, iteration: tf.Tensor) -> None:
        for number, state in enumerate(self._random_states):
            seed = stream_seed(self._config.seed, "dropout", number)
            # A layer may draw more than once an iteration.
            state.assign(tf.cast(tf.stack([seed, iteration * 1024]), state.dtype))

    def _name(self, variable: Any) -> str:
        return self._named_variables.name(variable)

    def _named(self, gradients: list[tf.Tensor], masked: bool) -> Gradients:
        """Returns name -> gradient; masked if they do not all come from masked reads."""
        named = {
            self._name(v): g
            for g, v in zip(gradients, self._variables, strict=True)
            if self._name(v)
        }
        return self._named_variables.masked(named) if masked else named


def additional_losses(model: keras.Model) -> list[tf.Tensor]:
    """Returns the scalars that a model's last call added to the loss, as Keras sums them up."""
    return [tf.reduce_sum(tf.cast(loss, tf.float32)) for loss in model.losses]


def loss_and_correct(logits: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns a batch's summed cross-entropy and which labels have the largest logit.

    Args:
        logits: [batch, ..., classes].
        labels: int32 [batch, ...].

    Returns:
        float32 scalar, bool [batch, ...].
    """
    logits = tf.cast(logits, tf.float32)
    losses = keras.ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)
    return tf.reduce_sum(losses), tf.equal(tf.argmax(logits, -1, tf.int32), labels)
