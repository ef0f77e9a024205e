"""Keep the channels that normalization scales up."""

import numpy as np

from lth_tf.pruning import PruningContext, register


@register("bn_scale")
def bn_scale(context: PruningContext) -> dict[str, np.ndarray]:
    """Scores each channel by the absolute scale of its batch normalization: granularity=channel.

    A channel that several normalizations come behind has the sum of their scales.

    Returns:
        Weight path -> float array of the weight's shape, the same for all of a channel.

    Raises:
        UsageError: if the granularity is another, or a layer that is pruned has no
            normalization with a scale.

    Source:
        Liu et al. 2017, arXiv:1708.06519 (network slimming); here without its penalty on scales.
    """
    gammas = [path for path in context.masks if path.rpartition("/")[2] == "gamma"]
    return context.units.spread(
        {path: np.abs(context.trained[path]) for path in gammas}, context.masks
    )
