"""Keep the weights that grew most."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("magnitude_increase")
def magnitude_increase(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by how much larger training made its absolute value, |w_f| - |w_i|.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 3.
    """
    return {
        path: np.abs(context.trained[path]) - np.abs(context.origin[path]) for path in context.masks
    }
