"""Keep the weights whose removal would change the loss most, to first order."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("gradient_times_weight")
def gradient_times_weight(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by |gradient * weight|, on training examples.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Mozer & Smolensky 1989; Blalock et al. 2020, arXiv:2003.03033, appendix (gradient
        magnitude pruning).
    """
    gradients = context.gradients()
    return {path: np.abs(gradients[path] * context.trained[path]) for path in context.masks}
