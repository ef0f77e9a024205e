"""The ticket's own weights, shuffled within each layer."""

import dataclasses

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option


@register("layer_shuffle")
@dataclasses.dataclass(frozen=True)
class LayerShuffle(Control):
    """Is it where each value stands? The masks stay, the survivors of a layer change places.

    Shuffled masks are `random_masks` with `random_mask_weights="origin"`.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 4 (reshuffled).
    """

    layer_shuffles: int = option(
        0,
        "Controls at every level with the ticket's weights shuffled within each layer.",
        minimum=0,
        in_run_name=False,
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "weights shuffled by layer"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns the ticket's masks, and the survivors of each layer in another order."""
        random = context.generator(name, level, "order")
        shuffled = {}
        for path, mask in masks.items():
            value = start[path].copy()
            value[mask != 0] = random.permutation(value[mask != 0])
            shuffled[path] = value
        return masks, start | shuffled, context.rewind
