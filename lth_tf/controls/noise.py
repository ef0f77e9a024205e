"""The ticket with Gaussian noise on its weights."""

import dataclasses

from lth_tf.controls import register
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.options import option


@register("noise")
@dataclasses.dataclass(frozen=True)
class Noise(Control):
    """How exact must it be? Noise is added, in standard deviations of a layer's weights.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F.4 and Figure 25 (0.5 to 3).
    """

    noises: int = option(
        0,
        "Controls at every level with noise on the ticket's weights.",
        minimum=0,
        in_run_name=False,
    )
    noise_sigma: float = option(
        1.0, "Noise in standard deviations of a layer's initialization.", minimum=0.0
    )

    def label(self) -> str:
        """Returns the control in words."""
        return "with noise"

    def prepare(
        self, name: str, level: int, masks: Masks, start: Weights, context: Context
    ) -> tuple[Masks, Weights, int]:
        """Returns the ticket's masks, and its weights with noise."""
        random = context.generator(name, level, "noise")
        origin = context.run_dir.origin()
        noisy = {}
        for path, mask in masks.items():
            sigma = self.noise_sigma * origin[path].std()
            noise = random.normal(0.0, sigma, mask.shape).astype(start[path].dtype)
            noisy[path] = start[path] + noise
        return masks, start | noisy, context.rewind
