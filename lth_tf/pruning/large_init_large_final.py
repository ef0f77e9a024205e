"""Keep the weights that began and ended large."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("large_init_large_final")
def large_init_large_final(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by the smaller of its two absolute values, min(|w_f|, |w_i|).

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 3.
    """
    return {
        path: np.minimum(np.abs(context.trained[path]), np.abs(context.origin[path]))
        for path in context.masks
    }
