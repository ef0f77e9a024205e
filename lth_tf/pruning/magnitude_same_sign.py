"""Keep the weights that ended large, and with the sign they had."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("magnitude_same_sign")
def magnitude_same_sign(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by |w_f| where training kept its sign, else by 0.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 3.
    """
    return {
        path: np.maximum(0, context.trained[path] * np.sign(context.origin[path]))
        for path in context.masks
    }
