"""Keep weights at random, the control for every other criterion."""

import numpy as np

from lth_tf.pruning import register


@register("random")
def random(trained: np.ndarray, origin: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    """Scores each weight by a random number.

    Args:
        trained: float array, a layer's weights at the end of training; only its
            shape is used.
        origin: float array of the same shape; unused.
        generator: random stream the scores are drawn from.

    Returns:
        Float array of the same shape, uniform in [0, 1).

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix E (random sparse networks).
    """
    return generator.random(trained.shape)
