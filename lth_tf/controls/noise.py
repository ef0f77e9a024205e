"""The ticket with Gaussian noise on its weights."""

import dataclasses

import numpy as np

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
        return masks, with_noise(masks, start, origin, self.noise_sigma, random), context.rewind


def with_noise(
    masks: Masks, start: Weights, origin: Weights, sigma: float, random: np.random.Generator
) -> Weights:
    """Returns weights with Gaussian noise on those that masks are of.

    Args:
        masks: weight path -> array; all of a layer's weights get noise.
        start: path -> array of every weight.
        origin: path -> array; gives each layer's standard deviation.
        sigma: of the noise, in these.
        random: draws it.
    """
    noisy = {}
    for path, mask in masks.items():
        noise = random.normal(0.0, sigma * origin[path].std(), mask.shape)
        noisy[path] = start[path] + noise.astype(start[path].dtype)
    return start | noisy
