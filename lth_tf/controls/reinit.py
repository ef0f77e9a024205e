"""The ticket's masks on a new initialization."""

import dataclasses

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option


@register("reinit")
@dataclasses.dataclass(frozen=True)
class Reinit(Control):
    """Is it the initialization? The masks stay, the weights are drawn anew.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2 (random reinitialization).
    """

    reinits: int = option(
        0,
        "Controls at every level with the ticket's mask and a new initialization.",
        minimum=0,
        in_run_name=False,
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "random reinit"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns the ticket's masks and a new initialization, not trained at all."""
        return masks, context.new_weights(name, level, "init"), 0
