"""Random masks of the ticket's sizes."""

import dataclasses

import numpy as np

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option
from lth_tf.pruning.granularities.base import EVERY_WEIGHT


@register("random")
@dataclasses.dataclass(frozen=True)
class RandomMask(Control):
    """Is it the structure? Each layer keeps as many weights, at random places.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, Figure 1 and appendix E.
    """

    random_masks: int = option(
        0,
        "Controls at every level with a random mask of the same sizes.",
        minimum=0,
        in_run_name=False,
    )
    random_mask_weights: str = option(
        "new",
        "What a random mask starts from: a new initialization or the origin.",
        choices=("new", "origin"),
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "random mask"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns shuffled masks, and a new initialization or the origin.

        The origin it is also where tickets continue from trained weights: those are 0 where
        they were pruned, which a random mask would mostly keep.
        """
        random = shuffled(masks, context.generator(name, level, "mask"), context)
        if self.random_mask_weights == "new":
            return random, context.new_weights(name, level, "init"), 0
        return random, context.run_dir.origin(), context.rewind


def shuffled(masks: Masks, generator: np.random.Generator, context: Context) -> Masks:
    """Returns random masks that keep as many weights, or units, of each layer as `masks`."""
    if context.units is not EVERY_WEIGHT:
        scores = {path: generator.random(mask.shape) for path, mask in masks.items()}
        return context.units.as_many(scores, context.dense, masks)
    return {
        path: generator.permutation(mask.ravel()).reshape(mask.shape)
        for path, mask in masks.items()
    }
