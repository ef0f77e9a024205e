"""From trained weights to the next masks.

A criterion is a function `(trained, origin, generator) -> scores` on the arrays of
one layer, in a file of its own; what scores lowest is pruned first. How many
weights go, and out of which layers, is decided in `select`.
"""

import numpy as np

from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.masks import Masks
from lth_tf.pruning import select
from lth_tf.registry import Registry
from lth_tf.seeding import generator

CRITERIA = Registry("method", package=__name__)
register = CRITERIA.register


def prune(
    masks: Masks,
    trained: dict[str, np.ndarray],
    origin: dict[str, np.ndarray],
    groups: dict[str, str],
    config: ExperimentConfig,
    level: int,
) -> Masks:
    """Returns the masks of a level.

    Args:
        masks: the masks the weights were trained under: those of the level
            before, or of the dense network with the strategy oneshot.
        trained: weight path -> float array at the end of that training.
        origin: weight path -> float array that training started from.
        groups: weight path -> conv, fc, output or unpruned.
        config: method, scope, prune rates and seed.
        level: the level the result is for; only names its random stream.

    Raises:
        UsageError: if a layer would lose its last weight, or the method is
            unknown.
    """
    criterion = CRITERIA.get(config.method)
    rounds = level if config.strategy == "oneshot" else 1
    rates = layer_rates(groups, config, rounds)
    scores = {
        path: criterion(trained[path], origin[path], generator(config.seed, "prune", level, path))
        for path in masks
        if rates[path]
    }
    chosen = select.layerwise if config.scope == "layerwise" else select.across_layers
    pruned = chosen(scores, {path: masks[path] for path in scores}, rates)
    for path, mask in pruned.items():
        if not mask.any() and masks[path].any():
            raise UsageError(_emptied(path, level))
    return {path: pruned.get(path, mask) for path, mask in masks.items()}


def layer_rates(
    groups: dict[str, str], config: ExperimentConfig, rounds: int = 1
) -> dict[str, float]:
    """Returns weight path -> fraction of its remaining weights that `rounds` levels prune."""
    by_group = {**config.prune_rates(), "unpruned": 0.0}
    return {path: 1 - (1 - by_group[group]) ** rounds for path, group in groups.items()}


def plan(sizes: dict[str, int], groups: dict[str, str], config: ExperimentConfig) -> list[int]:
    """Returns the number of weights remaining at levels 0, 1, ..., config.levels.

    Args:
        sizes: weight path -> number of weights.
        groups: weight path -> conv, fc, output or unpruned.
        config: scope, prune rates and levels.

    Raises:
        UsageError: if a layer would lose its last weight, or the method is
            unknown.
    """
    CRITERIA.get(config.method)
    totals = []
    sizes_now = _pools(sizes, groups, config)
    for level in range(config.levels + 1):
        if level and config.strategy == "oneshot":
            sizes_now = _pools(sizes, groups, config)
        rounds = level if config.strategy == "oneshot" else min(level, 1)
        for name, (size, rate) in sizes_now.items():
            left = size - select.count(size, 1 - (1 - rate) ** rounds)
            if left == 0:
                raise UsageError(_emptied(name, level))
            sizes_now[name] = (left, rate)
        totals.append(sum(size for size, _ in sizes_now.values()))
    return totals


def _pools(
    sizes: dict[str, int], groups: dict[str, str], config: ExperimentConfig
) -> dict[str, tuple[int, float]]:
    """Returns what is ranked together: name -> number of weights and prune rate."""
    rates = layer_rates(groups, config)
    if config.scope == "layerwise":
        return {path: (size, rates[path]) for path, size in sizes.items()}
    pools: dict[str, tuple[int, float]] = {}
    for path, size in sizes.items():
        name = f"layers of prune rate {rates[path]:g}"
        pools[name] = (pools.get(name, (0, 0.0))[0] + size, rates[path])
    return pools


def _emptied(path: str, level: int) -> str:
    return (
        f"Expected every layer to keep at least one weight. Received: level {level} would "
        f"prune the last weight of {path!r}. Use fewer levels or a smaller prune rate."
    )
