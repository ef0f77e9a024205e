"""What a method may add to an update."""

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from lth_tf.methods.ticket import Ticket

    Gradients = Mapping[str, tf.Tensor]


class Hooks:
    """Adds nothing; a method overrides what it needs.

    Called by the compiled loop of a `Trainer` and by the training step of `model.fit` (see
    `lth_tf.tickets.fit_hooks` for what differs there).

    What is given an iteration is called while the compiled loop is traced, once for each of its
    programs: change variables with `assign`, branch with `tf.cond`. The iteration is an
    int32 scalar, 0 at the first update of a training.

    Gradients are path -> gradient of the loss, without weight decay: of every trainable weight of
    the model, and, under names such as "fc1/kernel#score", of the trained variables of rules
    (`lth_tf.masking.model.set_effective`).

    Attributes:
        variables: the hooks' own state, masks that they change and variables of rules included;
            part of `Trainer.state` and put back by `Trainer.restore`.
        trainable_variables: variables that the optimizer updates beside those of the model and
            its rules; part of the state as well.
        early_stop_from: iteration from which on the minimum of the validation loss counts.
        dense_gradients: True for a rule that gives pruned weights a gradient: it is masked where
            weights are updated, and no sooner.
        optimizer_slots: path -> the optimizer's variables for that weight, e.g. its momentum; set
            before the loop is traced.
    """

    variables: "Sequence[keras.Variable | tf.Variable]" = ()
    trainable_variables: "Sequence[keras.Variable]" = ()
    early_stop_from: int = 0
    dense_gradients: bool = False
    optimizer_slots: "Mapping[str, Sequence[keras.Variable]]" = {}

    def begin(self, ticket: "Ticket") -> None:
        """Called on the host before a stage is trained, or goes on, and before `restart`."""

    def restart(self, iteration: int) -> None:
        """Called on the host when a training starts at `iteration`: sets the variables."""

    def before_update(self, iteration: "tf.Tensor") -> None:
        """Called before the forward pass of an update."""

    def extra_loss(self, iteration: "tf.Tensor") -> "tf.Tensor | None":
        """Returns a scalar that is added to the loss of an update, or None."""
        return None

    def loss(
        self, loss: "tf.Tensor", inputs: "tf.Tensor", logits: "tf.Tensor", iteration: "tf.Tensor"
    ) -> "tf.Tensor":
        """Returns the loss of an update in place of the cross-entropy, a float32 scalar.

        Losses of the model's own and `extra_loss` are added to it.

        Args:
            loss: the cross-entropy.
            inputs: as the network takes them.
            logits: what it makes of them.
            iteration: of this update.
        """
        return loss

    def learning_rate(self, rate: "tf.Tensor", iteration: "tf.Tensor") -> "tf.Tensor":
        """Returns the learning rate of an update; `rate` is that of the config's schedule."""
        return rate

    def update(
        self,
        iteration: "tf.Tensor",
        gradients: "Gradients",
        apply: "Callable[[Gradients], None]",
    ) -> None:
        """Makes the update of the weights.

        Args:
            iteration: of this update.
            gradients: of pruned weights too where `dense_gradients` is True.
            apply: lets the optimizer update what it is given gradients of, with weight decay;
                nothing else changes.
        """
        apply(gradients)

    def after_update(self, iteration: "tf.Tensor", gradients: "Gradients") -> None:
        """Called after the optimizer has updated the weights.

        Stored weights must be 0 where they are pruned when it returns: who changes masks
        here zeroes the weights too.

        Args:
            iteration: of this update.
            gradients: 0 where a weight is pruned.
        """

    def evaluated(self, iteration: int) -> bool:
        """Called on the host after every evaluation; returns True to end the training there."""
        return False

    def finish(self) -> None:
        """Called on the host when a stage is trained: sets the masks that it has ended with."""

    def learned(self) -> dict[str, np.ndarray]:
        """Returns name -> array that is kept beside the trained weights, e.g. a search's scores."""
        return {}
