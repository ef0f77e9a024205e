"""What a control is."""

import dataclasses

from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import Options


class Control(Options):
    """A comparison run at every level: a frozen dataclass, registered by its name.

    Its first field is how many of it there are a level, and no part of the run's name.
    """

    @property
    def count(self) -> int:
        """How many there are a level."""
        return getattr(self, dataclasses.fields(self)[0].name)

    def label(self) -> str:
        """Returns the control in words, for tables and legends."""
        raise NotImplementedError(f"{type(self).__name__}.label")

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns masks, weights and how far these are trained.

        Args:
            name: this control's own name, e.g. "reinit_0"; names its random streams.
            level: the level it is a control of.
            masks: those of the level's ticket.
            start: the weights that the ticket starts from.
            context: the run so far.
        """
        raise NotImplementedError(f"{type(self).__name__}.prepare")
