"""Keep the weights that end training large."""

import numpy as np

from lth_tf.pruning import register


@register("magnitude")
def magnitude(
    trained: np.ndarray, origin: np.ndarray, generator: np.random.Generator
) -> np.ndarray:
    """Scores each weight by its absolute value at the end of training.

    Args:
        trained: float array, a layer's weights at the end of training.
        origin: float array of the same shape, what training started from; unused.
        generator: random stream; unused.

    Returns:
        Float array of the same shape; higher is kept longer.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2.
    """
    return np.abs(trained)
