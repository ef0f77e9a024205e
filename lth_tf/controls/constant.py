"""The ticket's masks on one value a layer, with both signs."""

import dataclasses

import numpy as np

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option


@register("constant")
@dataclasses.dataclass(frozen=True)
class Constant(Control):
    """Is it more than the sign? Every weight becomes + or - the layer's standard deviation.

    That of its initialization, or of the weights that are rewound to.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 4 (constant).
    """

    constants: int = option(
        0,
        "Controls at every level whose weights are + or - the standard deviation of their layer.",
        minimum=0,
        in_run_name=False,
    )
    constant_signs: str = option(
        "ticket",
        "Signs of constant weights: the ticket's or random ones.",
        choices=("ticket", "random"),
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "constant weights"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns the ticket's masks and constants with its signs, or with random ones."""
        random = context.generator(name, level, "signs")
        origin = context.run_dir.origin()
        constant = {}
        for path in masks:
            signs = start[path]
            if self.constant_signs == "random":
                signs = random.choice(np.array([-1, 1], signs.dtype), signs.shape)
            constant[path] = np.copysign(np.full_like(origin[path], origin[path].std()), signs)
        return masks, start | constant, context.rewind
