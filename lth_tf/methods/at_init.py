"""Pruning at initialization: the masks are chosen before any training."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf import pruning
from lth_tf.config import CRITERIA
from lth_tf.masking.arrays import Masks
from lth_tf.methods import register
from lth_tf.methods.base import Context, Weights
from lth_tf.methods.densities import AtDensities
from lth_tf.options import option
from lth_tf.runs.stage import Stage

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig


@register("at_init")
@dataclasses.dataclass(frozen=True)
class AtInit(AtDensities):
    """Prunes the initial weights by a criterion, then trains what is left.

    The papers' methods are criteria: `criterion=snip`, `grasp` and `synflow`, each with
    `scope=global`; `criterion=random` with `scope=uniform`, `erk` or `smart_ratio`;
    `criterion=magnitude`, pruning at iteration 0.

    Each of several rounds scores what the last has left: after round r of R the density is
    that of the level to the power of r / R.

    Source:
        Lee et al. 2019, arXiv:1810.02340; Wang et al. 2020, arXiv:2002.07376; Tanaka et al.
        2020, arXiv:2006.05467; Frankle et al. 2021, arXiv:2009.08576.
    """

    takes_granularity: ClassVar[bool] = True

    rounds: int = option(
        0,
        "Rounds of scoring and pruning; 0 is the criterion's own number: 100 for synflow, else 1.",
        minimum=0,
    )

    def label(self) -> str:
        """Returns the method in words."""
        return "pruned at initialization"

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns the masks that the criterion chooses, and the origin."""
        origin = context.run_dir.origin()
        if not level:
            return context.dense, origin
        if context.run_dir.has(Stage(level)):
            return context.run_dir.mask(Stage(level)), origin
        sizes = {path: np.size(mask) for path, mask in context.dense.items()}
        rounds = self._rounds(context.config)
        masks = context.dense
        for number in range(1, rounds + 1):
            pruned = self.rates_of(level, sizes, context.rates, number / rounds)
            masks = pruning.prune(
                context.to_prune(masks, origin, level),
                dict.fromkeys(context.rates, 0.0) | pruned,
                context.config.criterion,
                context.config.scope,
                level,
                base=context.dense,
            )
        return masks, origin

    def _rounds(self, config: "ProcedureConfig") -> int:
        return self.rounds or getattr(CRITERIA.get(config.criterion), "rounds", 1)
