"""Keep the weights that the flow of gradients needs (GraSP)."""

import numpy as np

from lth_tf.pruning import PruningContext, register

TEMPERATURE = 200.0


@register("grasp")
def grasp(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by weight * (H g): for `method=at_init`, with `scope=global`.

    H and g are Hessian and gradient of the loss of logits that are divided by 200. Large
    scores are those of weights without which the gradient's norm would fall.

    Returns:
        Weight path -> float array of the weight's shape; higher is kept longer.

    Source:
        Wang et al. 2020, arXiv:2002.07376, section 4 and its authors' code.
    """
    gradients = context.gradients(TEMPERATURE)
    product = context.hessian_product(gradients, TEMPERATURE)
    return {path: context.trained[path] * product[path] for path in context.masks}
