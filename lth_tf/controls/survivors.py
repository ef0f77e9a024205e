"""The ticket's masks with weights drawn from the survivors."""

import dataclasses

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option


@register("survivors")
@dataclasses.dataclass(frozen=True)
class Survivors(Control):
    """Is it the distribution? Each layer draws its weights from those that the ticket keeps.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F.2.
    """

    survivor_reinits: int = option(
        0,
        "Controls at every level whose weights are drawn from the layer's surviving ones.",
        minimum=0,
        in_run_name=False,
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "reinit from the survivors"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns the ticket's masks, and for each weight any value that survives in its layer."""
        random = context.generator(name, level, "init")
        drawn = {
            path: random.choice(start[path][mask != 0], mask.shape)
            for path, mask in masks.items()
            if mask.any()
        }
        return masks, start | drawn, context.rewind
