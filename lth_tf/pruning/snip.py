"""Keep the weights to which the loss is most sensitive before training (SNIP)."""

import numpy as np

from lth_tf.pruning import PruningContext, register
from lth_tf.pruning.gradient_times_weight import gradient_times_weight


@register("snip")
def snip(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by |gradient * weight|: for `method=at_init`, with `scope=global`.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Lee et al. 2019, arXiv:1810.02340, section 4. Scores are not divided by their
        sum, which changes no order.
    """
    return gradient_times_weight(context)
