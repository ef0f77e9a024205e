"""The largest initial weights, as many as the ticket has of each layer."""

import dataclasses

import numpy as np

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option
from lth_tf.pruning.select import as_many


@register("at_iteration_0")
@dataclasses.dataclass(frozen=True)
class AtIteration0(Control):
    """Was training needed to choose? The masks are those of magnitude before it.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F.1 (pruning at iteration 0).
    """

    prunings_at_init: int = option(
        0,
        "Controls at every level that keep the largest weights of the origin instead.",
        minimum=0,
        in_run_name=False,
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "pruned at iteration 0"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns masks of the origin's largest weights, and the origin."""
        origin = context.run_dir.origin()
        magnitudes = {path: np.abs(origin[path]) for path in masks}
        return as_many(magnitudes, context.dense, masks), origin, context.rewind
