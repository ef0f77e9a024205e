"""The ticket's masks and signs on a new initialization."""

import dataclasses

import numpy as np

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option


@register("same_sign")
@dataclasses.dataclass(frozen=True)
class SameSign(Control):
    """Is it the sign? The masks stay, and the signs of the weights; their sizes are drawn anew.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 4 (reinitialized with the rewound sign).
    """

    same_sign_reinits: int = option(
        0,
        "Controls at every level with the ticket's masks and signs on a new initialization.",
        minimum=0,
        in_run_name=False,
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "reinit with the same signs"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns the ticket's masks, and new weights with its signs, not trained at all."""
        new = context.new_weights(name, level, "init")
        return masks, new | {path: np.copysign(new[path], start[path]) for path in masks}, 0
