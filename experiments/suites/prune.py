"""VGG-19, 20 million weights ranked together."""

import time
import tracemalloc
from collections.abc import Iterator

from lth_tf import networks, pruning
from lth_tf.masking.model import get_masks, get_weights

from . import Options, Result, in_turn, register
from .setups import config_of, model_of


@register("prune")
def prune(options: Options) -> Iterator[Result]:
    """Measures how long pruning takes, and its memory in multiples of the weights'."""
    config = config_of("vgg19")
    model = model_of(config)
    weights, masks = get_weights(model), get_masks(model)
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())
    size = sum(weights[path].nbytes for path in masks)

    def seconds() -> float:
        start = time.perf_counter()
        context = pruning.PruningContext(masks, weights, weights)
        pruning.prune(context, rates, config.criterion, config.scope, level=1)
        return time.perf_counter() - start

    yield in_turn("vgg19: pruning 20 million weights", {"seconds": seconds}, options.rounds, "s")
    tracemalloc.start()
    seconds()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    yield Result("vgg19: memory that pruning adds", "times the weights", {"peak": [peak / size]})
