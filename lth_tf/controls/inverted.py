"""The lowest scores instead of the highest."""

import dataclasses

from lth_tf.config import CRITERIA
from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option
from lth_tf.runs.stage import Stage


@register("inverted")
@dataclasses.dataclass(frozen=True)
class Inverted(Control):
    """Do the scores say anything? Each layer keeps as many weights, of the lowest scores.

    They are chosen out of what the ticket was pruned from.

    Source:
        Frankle et al. 2021, arXiv:2009.08576, section 5 (inversion); here layers keep their sizes.
    """

    inversions: int = option(
        0,
        "Controls at every level that keep the lowest scores instead of the highest.",
        minimum=0,
        in_run_name=False,
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "scores inverted"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns masks of the lowest scores, and the origin."""
        source = context.config.method.needs(level)
        origin, run_dir = context.run_dir.origin(), context.run_dir
        base = context.dense if source is None else run_dir.mask(Stage(source))
        trained = origin if source is None else run_dir.trained(Stage(source))
        criterion = CRITERIA.get(context.config.criterion)
        scores = criterion(context.to_prune(base, trained, level))
        lowest = {path: -scores[path] for path in masks}
        return context.units.as_many(lowest, base, masks), origin, context.rewind
