"""Keep the weights that most of what flows through the network passes (SynFlow)."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("synflow")
def synflow(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each weight by |dR/dw * w|: for `method=at_init`, with `scope=global`.

    R is the sum of the outputs for an input of ones of the network whose parameters are
    all absolute values. It needs no data, and is to be asked again after each of many
    small prunings: then no layer loses its last weight before it must.

    Returns:
        Weight path -> float64 array of the weight's shape; higher is kept longer.

    Source:
        Tanaka et al. 2020, arXiv:2006.05467, section 5 (100 rounds).
    """
    gradients = context.flow_gradients()
    return {path: np.abs(gradients[path] * context.trained[path]) for path in context.masks}


synflow.rounds = 100
