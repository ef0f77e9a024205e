"""What a method may add to an update."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import keras
    import tensorflow as tf

    from lth_tf.methods.base import Ticket


class Hooks:
    """Adds nothing; a method overrides what it needs.

    Everything but `restart` is called while the compiled loop is traced, once for each of its
    programs: change variables with `assign`, branch with `tf.cond`. The iteration is an
    int32 scalar, 0 at the first update of a training.

    Attributes:
        variables: the hooks' own state, masks that they change included; part of
            `Trainer.state` and put back by `Trainer.restore`.
        trainable_variables: variables that the optimizer updates beside the model's,
            e.g. scores of soft masks; part of the state as well.
        early_stop_from: iteration from which on the minimum of the validation loss counts.
    """

    variables: "Sequence[keras.Variable | tf.Variable]" = ()
    trainable_variables: "Sequence[keras.Variable]" = ()
    early_stop_from: int = 0

    def begin(self, ticket: "Ticket") -> None:
        """Called on the host before a stage is trained, or goes on, and before `restart`."""

    def restart(self, iteration: int) -> None:
        """Called on the host when a training starts at `iteration`: sets the variables."""

    def before_update(self, iteration: "tf.Tensor") -> None:
        """Called before the forward pass of an update."""

    def extra_loss(self, iteration: "tf.Tensor") -> "tf.Tensor | None":
        """Returns a scalar that is added to the loss of an update, or None."""
        return None

    def after_update(self, iteration: "tf.Tensor", gradients: "Mapping[str, tf.Tensor]") -> None:
        """Called after the optimizer has updated the weights.

        Stored weights must be 0 where they are pruned when it returns: who changes masks
        here zeroes the weights too.

        Args:
            iteration: of this update.
            gradients: path -> gradient of the loss, of every trainable weight of the model;
                0 where it is pruned, without weight decay.
        """
