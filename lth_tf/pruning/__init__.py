"""From trained weights to the next masks.

A criterion is a function `criterion(context) -> scores`, in a file of its own, over the
`PruningContext` of a network; what scores lowest is pruned first. How many weights go, and
out of which layers, is decided in `select`.
"""

import dataclasses
import numbers
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from lth_tf.config import CRITERIA
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.pruning import select
from lth_tf.pruning.context import PruningContext

register = CRITERIA.register


def prune(
    context: PruningContext,
    rates: dict[str, float],
    criterion: str | Callable[[PruningContext], dict[str, Any]],
    scope: str,
    level: int,
) -> Masks:
    """Returns the masks of a level.

    Args:
        context: the masks and weights to prune from.
        rates: weight path -> fraction of its remaining weights to prune.
        criterion: name of a criterion, or one.
        scope: "layerwise", or "global" to rank layers of the same rate together.
        level: the level the result is for; for messages.

    Raises:
        UsageError: if a layer would lose its last weight, or the criterion is unknown or
            does not score every weight.
    """
    masks = context.masks
    pruned = {path: mask for path, mask in masks.items() if rates[path]}
    scores = CRITERIA.get(criterion)(dataclasses.replace(context, masks=pruned))
    del context  # and its weights, which may be as large as the scores
    for path, mask in pruned.items():
        shape = np.shape(scores.get(path))
        if path not in scores or shape != mask.shape:
            raise UsageError(
                f"Expected of the criterion {CRITERIA.name_of(criterion)} a score for every "
                f"weight: an array of shape {mask.shape} for {path!r}. Received: "
                f"{shape if path in scores else 'none'}."
            )
    choose = select.layerwise if scope == "layerwise" else select.across_layers
    pruned = choose(scores, pruned, rates)
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


def plan(
    sizes: dict[str, int],
    rates: dict[str, float],
    *,
    levels: int,
    scope: str,
    cumulative: bool = False,
) -> list[int]:
    """Returns the number of weights remaining at levels 0, 1, ..., levels.

    Args:
        sizes: weight path -> number of weights.
        rates: weight path -> fraction of its remaining weights pruned a level.
        levels: number of the last level.
        scope: "layerwise", or "global" to rank layers of the same rate together.
        cumulative: every level is pruned from the dense network, not from the one before.

    Raises:
        UsageError: if a layer would lose its last weight.
    """
    dense = _pools(sizes, rates, scope)
    now, totals = dense, [sum(sizes.values())]
    for level in range(1, levels + 1):
        rounds, before = (level, dense) if cumulative else (1, now)
        now = {}
        for name, (size, rate) in before.items():
            left = size - select.count(size, select.rate_after(rounds, rate))
            if left == 0:
                raise UsageError(_emptied(name, level))
            now[name] = (left, rate)
        totals.append(sum(size for size, _ in now.values()))
    return totals


def _pools(
    sizes: dict[str, int], rates: dict[str, float], scope: str
) -> dict[str, tuple[int, float]]:
    """Returns what is ranked together: name -> number of weights and prune rate."""
    if scope == "layerwise":
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
