"""Keep the weights that began large."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("large_init")
def large_init(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by the absolute value it started from, |w_i|.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 3.
    """
    return {path: np.abs(context.origin[path]) for path in context.masks}
