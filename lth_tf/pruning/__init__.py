"""From trained weights to the next masks.

A criterion is a function `(trained, origin, generator) -> scores` on the arrays of
one layer, in a file of its own; what scores lowest is pruned first. How many
weights go, and out of which layers, is decided in `select`.
"""

import numbers
from collections.abc import Callable, Mapping

import numpy as np

from lth_tf.config import ProcedureConfig
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.pruning import select
from lth_tf.registry import Registry
from lth_tf.seeding import generator

CRITERIA = Registry("method", package=__name__)
register = CRITERIA.register


def prune(
    masks: Masks,
    trained: dict[str, np.ndarray],
    origin: dict[str, np.ndarray],
    rates: dict[str, float],
    config: ProcedureConfig,
    level: int,
) -> Masks:
    """Returns the masks of a level.

    Args:
        masks: the masks the weights were trained under: those of the level
            before, or of the dense network with the strategy oneshot.
        trained: weight path -> float array at the end of that training.
        origin: weight path -> float array that training started from.
        rates: weight path -> fraction of its remaining weights pruned a level.
        config: method, scope, strategy and seed.
        level: the level the result is for; only names its random stream.

    Raises:
        UsageError: if a layer would lose its last weight, or the method is
            unknown.
    """
    criterion = CRITERIA.get(config.method)
    rounds = level if config.strategy == "oneshot" else 1
    rates = {path: select.rate_after(rounds, rate) for path, rate in rates.items()}
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
    groups: dict[str, str], rates: float | Mapping[str, float] | Callable[[str], float]
) -> dict[str, float]:
    """Returns weight path -> fraction of its remaining weights pruned a level.

    Args:
        groups: weight path -> conv, fc, output or unpruned.
        rates: one rate for all, a rate by group, layer or path of a weight (the
            nearest to the weight wins; what is not named is not pruned), or a function that
            is given the path of a weight.

    Raises:
        UsageError: if a rate is not in [0, 1), or a name fits no weight.

    Example:
    >>> groups = {"fc1/kernel": "fc", "fc2/kernel": "fc", "output/kernel": "output"}
    >>> layer_rates(groups, {"fc": 0.2, "fc2": 0.5})
    {'fc1/kernel': 0.2, 'fc2/kernel': 0.5, 'output/kernel': 0.0}
    """
    if callable(rates):
        found = {path: rates(path) for path in groups}
    elif isinstance(rates, Mapping):
        names = {path: [group, *_names(path)] for path, group in groups.items()}
        known = {"conv", "fc", "output", "unpruned"}.union(*names.values())
        if unknown := sorted(set(rates) - known):
            raise UsageError(
                "Expected the groups conv, fc and output, or names of masked layers or weights in "
                f"prune_rates. Received: {unknown[0]!r}."
            )
        found = {
            path: next((rates[name] for name in reversed(names[path]) if name in rates), 0.0)
            for path in groups
        }
    else:
        found = dict.fromkeys(groups, rates)
    for path, rate in found.items():
        if isinstance(rate, bool) or not isinstance(rate, numbers.Real) or not 0 <= rate < 1:
            raise UsageError(f"Expected prune rates in [0, 1). Received: {rate!r} for {path!r}.")
    return {path: float(rate) for path, rate in found.items()}


def _names(path: str) -> list[str]:
    """Returns the names and paths of the layers a weight lies in, and its own path."""
    parts = path.split("/")
    return [*parts[:-1], *("/".join(parts[: n + 1]) for n in range(len(parts)))]


def plan(sizes: dict[str, int], rates: dict[str, float], config: ProcedureConfig) -> list[int]:
    """Returns the number of weights remaining at levels 0, 1, ..., config.levels.

    Args:
        sizes: weight path -> number of weights.
        rates: weight path -> fraction of its remaining weights pruned a level.
        config: scope, strategy and levels.

    Raises:
        UsageError: if a layer would lose its last weight, or the method is
            unknown.
    """
    CRITERIA.get(config.method)
    totals = []
    sizes_now = _pools(sizes, rates, config)
    for level in range(config.levels + 1):
        if level and config.strategy == "oneshot":
            sizes_now = _pools(sizes, rates, config)
        rounds = level if config.strategy == "oneshot" else min(level, 1)
        for name, (size, rate) in sizes_now.items():
            left = size - select.count(size, select.rate_after(rounds, rate))
            if left == 0:
                raise UsageError(_emptied(name, level))
            sizes_now[name] = (left, rate)
        totals.append(sum(size for size, _ in sizes_now.values()))
    return totals


def _pools(
    sizes: dict[str, int], rates: dict[str, float], config: ProcedureConfig
) -> dict[str, tuple[int, float]]:
    """Returns what is ranked together: name -> number of weights and prune rate."""
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
