"""Keep the weights that end training large."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("magnitude")
def magnitude(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by its absolute value at the end of training.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2.
    """
    return {path: np.abs(context.trained[path]) for path in context.masks}
