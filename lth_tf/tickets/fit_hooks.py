"""Hooks of a method inside `model.fit`: what it adds to an update of Keras's own training step."""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np

from lth_tf import keras_internals as internals
from lth_tf.config import FitConfig
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking.model import to_numpy
from lth_tf.methods.base import Method, Ticket
from lth_tf.methods.hooks import Hooks
from lth_tf.tickets.held import Held

with lazy_imports():
    import tensorflow as tf

    from lth_tf.training import named

# Of the functions that are put in place of Keras's.
_OURS = "called_by_lth_tf"


class FitHooks:
    """Calls hooks from the training step, the loss and the optimizer of a compiled model.

    The same hooks as in a `Trainer`, with these differences: the learning rate that
    `Hooks.learning_rate` is given is the one a level starts with, and the loss that `Hooks.loss` is
    given has the losses of the model itself in it. What is replaced on model and optimizer are
    attributes of these objects, which `clear` takes away.

    Args:
        hooks: of the method.
        model: masked and compiled, its optimizer built.

    Raises:
        UsageError: if this `fit` cannot call hooks.
    """

    def __init__(self, hooks: Hooks, model: keras.Model):
        check(hooks, model)
        self.hooks = hooks
        self._model = model
        self._optimizer = model.optimizer
        self._iteration = tf.Variable(0, trainable=False, dtype=tf.int32)
        self._seen = 0
        self._changes_rate = type(hooks).learning_rate is not Hooks.learning_rate
        self._rate = tf.Variable(0.0, trainable=False)
        self._in_step = False
        self._tells_training = internals.loss_knows_training(model)
        self._named = named.NamedVariables(model, self._optimizer, model.trainable_variables)
        hooks.optimizer_slots = self._named.slots
        self._install()

    def begin(self, ticket: Ticket) -> None:
        """Tells the hooks of a training that begins with a ticket; the model is at its start."""
        self.hooks.begin(ticket)
        self.hooks.restart(0)
        self._iteration.assign(0)
        self._seen = 0
        if self._changes_rate:
            self._rate.assign(self._optimizer.learning_rate.value)

    def check_called(self) -> None:
        """Refuses a model whose training step goes another way; called after each epoch.

        Raises:
            UsageError: if no hook was called in it.
        """
        before, self._seen = self._seen, int(self._iteration)
        if self._seen == before:
            raise UsageError(
                "Expected a model that updates its weights with the optimizer it was compiled "
                "with. Received: one whose train_step never does: the method has no part in it. "
                "Use a method that works between trainings, such as imp."
            )

    def state(self) -> dict[str, Any]:
        """Returns what a checkpoint holds of the hooks, as values that numpy can copy."""
        state: dict[str, Any] = {
            # Masks are large, and most of these states are never written.
            f"hook/{i}": Held(v) if isinstance(v, keras.Variable) else to_numpy(v)
            for i, v in enumerate(self.hooks.variables)
        }
        return state | {"hook/iteration": self._iteration.numpy(), "hook/rate": self._rate.numpy()}

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes on from a `state`; `begin` was called with the ticket before."""
        for i, variable in enumerate(self.hooks.variables):
            variable.assign(state[f"hook/{i}"])
        self._iteration.assign(state["hook/iteration"])
        self._seen = int(self._iteration)
        self._rate.assign(state["hook/rate"])

    def _install(self) -> None:
        model, optimizer = self._model, self._optimizer
        # Not by setattr, in which Keras looks for layers and variables.
        vars(model)["train_step"] = _ours(self._step(model.train_step))
        vars(model)["compute_loss"] = _ours(self._loss(model.compute_loss))
        vars(optimizer)["apply"] = _ours(self._update(optimizer.apply))
        model.make_train_function(force=True)
        # A fit that was broken off leaves them behind: the next one begins by calling this.
        vars(model)["make_train_function"] = _ours(self._cleared(model))

    def _cleared(self, model: keras.Model) -> Callable:
        def make_train_function(force: bool = False) -> Any:
            clear(model)
            return model.make_train_function(force)

        return make_train_function

    def _step(self, train_step: Callable) -> Callable:
        def step(*args: Any) -> Any:
            iteration = self._iteration.value()
            self.hooks.before_update(iteration)
            if self._changes_rate:
                rate = self.hooks.learning_rate(self._rate.value(), iteration)
                self._optimizer.learning_rate.assign(rate)
            self._in_step = True
            try:
                return train_step(*args)
            finally:
                self._in_step = False

        return step

    def _loss(self, compute_loss: Callable) -> Callable:
        def loss(
            x: Any = None,
            y: Any = None,
            y_pred: Any = None,
            sample_weight: Any = None,
            training: bool = True,
        ) -> Any:
            more = {"training": training} if self._tells_training else {}
            value = compute_loss(x=x, y=y, y_pred=y_pred, sample_weight=sample_weight, **more)
            if not self._in_step:
                return value
            iteration = self._iteration.value()
            value = self.hooks.loss(value, x, y_pred, iteration)
            extra = self.hooks.extra_loss(iteration)
            return value if extra is None else value + tf.cast(extra, value.dtype)

        return loss

    def _update(self, apply: Callable) -> Callable:
        def update(grads: Any, trainable_variables: Any = None) -> None:
            variables = trainable_variables
            if variables is None:
                variables = self._model.trainable_variables
            name_of, soft = self._named.name, self.hooks.dense_gradients
            pairs = [(g, v) for g, v in zip(grads, variables, strict=True) if g is not None]
            own = [(g, v) for g, v in pairs if not name_of(v)]
            by_name = {name_of(v): v for v in variables if name_of(v)}
            gradients = {name_of(v): g for g, v in pairs if name_of(v)}
            masked = self._named.masked(gradients)

            def apply_named(chosen: Mapping[str, Any]) -> None:
                if soft:
                    chosen = self._named.masked(chosen)
                updated = [(g, by_name[name]) for name, g in chosen.items()] + own
                # Keras wants all gradients from one graph, also in a branch of tf.cond.
                values, updated_variables = zip(*updated, strict=True)
                apply([tf.identity(g) for g in values], list(updated_variables))

            iteration = self._iteration.value()
            self.hooks.update(iteration, gradients if soft else masked, apply_named)
            missing = {n: tf.zeros(v.shape, v.dtype) for n, v in by_name.items() if n not in masked}
            self.hooks.after_update(iteration, masked | missing)
            self._iteration.assign_add(1)

        return update


def hooks_in_fit(config: FitConfig, model: keras.Model, rates: dict[str, float]) -> Hooks | None:
    """Returns what a config's method adds to an update; None for nothing.

    Args:
        config: of a `fit` that has begun.
        model: the masked model.
        rates: weight path -> fraction of its remaining weights pruned a level.

    Raises:
        UsageError: if Keras runs on another backend, or nobody knows how many batches an epoch
            has.
    """
    method = config.method
    if type(method).hooks is Method.hooks:
        return None
    if keras.backend.backend() != "tensorflow":
        raise _refused(f"the backend {keras.backend.backend()} of Keras")
    if config.iterations is None:
        raise UsageError(
            "Expected data with a known number of batches, by which this method is timed. "
            "Received: data without a length. Give fit steps_per_epoch=, or a Dataset with "
            "tf.data.experimental.assert_cardinality."
        )
    return method.hooks(model, rates, config)


def clear(model: keras.Model) -> None:
    """Gives a model and its optimizer their own ways of training back, if hooks were called."""
    replaced = False
    for owner in (model, model.optimizer):
        for name in ("train_step", "compute_loss", "make_train_function", "apply"):
            if getattr(vars(owner).get(name), _OURS, False):
                del vars(owner)[name]
                replaced = True
    if replaced:
        model.make_train_function(force=True)


def _ours(function: Callable) -> Callable:
    vars(function)[_OURS] = True
    return function


def check(hooks: Hooks, model: keras.Model) -> None:
    """Refuses a `fit` that cannot call the hooks of a method.

    Raises:
        UsageError: naming what is in the way.
    """
    strategy = getattr(model, "distribute_strategy", None)
    if strategy is not None and strategy.num_replicas_in_sync > 1:
        received = f"a model under {type(strategy).__name__}"
    elif hooks.trainable_variables:
        received = "a method with variables of its own to train"
    elif isinstance(model.optimizer, keras.optimizers.LossScaleOptimizer):
        received = "a model under the policy mixed_float16"
    elif type(hooks).learning_rate is not Hooks.learning_rate and internals.has_schedule(
        model.optimizer
    ):
        received = "a method that changes the learning rate, and an optimizer with a schedule of it"
    else:
        return
    raise _refused(received)


def _refused(received: str) -> UsageError:
    return UsageError(
        "Expected TensorFlow on one device in float32 or bfloat16: this method takes part in every "
        f"update. Received: {received}. Use find_tickets, or a method that works between "
        "trainings, such as imp."
    )
