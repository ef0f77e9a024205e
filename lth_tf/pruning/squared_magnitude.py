"""Keep the weights that end training large, of channels and blocks by their L2 norm."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("squared_magnitude")
def squared_magnitude(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by its square at the end of training.

    Single weights are ranked as by `magnitude`. Where several are kept or pruned as one,
    `magnitude` ranks them by the L1 norm and this by the L2 norm.

    Returns:
        Weight path -> float64 array of the weight's shape; higher is kept longer.

    Source:
        Li et al. 2017, arXiv:1608.08710, section 3 (norms of filters).
    """
    # In float64 a square of a float32 neither overflows nor underflows.
    trained = context.trained
    return {path: np.square(trained[path], dtype=np.float64) for path in context.masks}
