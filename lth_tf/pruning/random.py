"""Keep weights at random, the control for every other criterion."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("random")
def random(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by a random number, uniform in [0, 1).

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix E (random sparse networks).
    """
    return {
        path: context.generator(path).random(mask.shape) for path, mask in context.masks.items()
    }
