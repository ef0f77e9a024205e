"""From trained weights to the next masks.

A criterion is a function `criterion(context) -> scores`, in a file of its own, over the
`PruningContext` of a network; what scores lowest is pruned first. How many weights go, and
out of which layers, is decided in `select`.
"""

import dataclasses
import numbers
from collections.abc import Callable, Mapping
from fractions import Fraction
from typing import Any

import numpy as np

from lth_tf.config import CRITERIA, SCOPES
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.pruning import select
from lth_tf.pruning.context import OnDemand, PruningContext
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units

register = CRITERIA.register


def prune(
    context: PruningContext,
    rates: Mapping[str, float | Fraction],
    criterion: str | Callable[[PruningContext], dict[str, Any]],
    scope: str,
    level: int,
    base: Masks | None = None,
) -> Masks:
    """Returns the masks of a level.

    Args:
        context: the masks and weights to prune from.
        rates: weight path -> fraction of its remaining weights to prune.
        criterion: name of a criterion, or one.
        scope: how many weights each layer keeps, by its name in `lth_tf.pruning.scopes`.
        level: the level the result is for; for messages.
        base: masks whose weights the rates are fractions of; None for those of the context.

    Raises:
        UsageError: if a layer would lose its last weight, or the criterion is unknown or
            does not score every weight.
    """
    masks = context.masks
    pruned = {path: mask for path, mask in masks.items() if rates[path]}
    scores = score(dataclasses.replace(context, masks=pruned), criterion)
    units = context.units
    del context  # and its weights, which may be as large as the scores
    pruned = choose(scores, pruned, rates, scope, base, units)
    for path, mask in pruned.items():
        if not mask.any() and masks[path].any():
            raise UsageError(_emptied(path, level))
    return {path: pruned.get(path, mask) for path, mask in masks.items()}


def score(
    context: PruningContext, criterion: str | Callable[[PruningContext], dict[str, Any]]
) -> dict[str, np.ndarray]:
    """Returns weight path -> score of every weight; higher is kept longer.

    Args:
        context: the masks and weights to score.
        criterion: name of a criterion, or one.

    Raises:
        UsageError: if the criterion is unknown or does not score every weight.
    """
    masks = context.masks

    def wide(weights: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {p: _wide(value) if p in masks else value for p, value in weights.items()}

    # Half precision overflows and underflows in differences and products, integers wrap.
    origin = OnDemand(lambda: wide(context.origin))
    found = CRITERIA.get(criterion)(
        dataclasses.replace(context, trained=wide(context.trained), origin=origin)
    )
    scores = dict(found) if isinstance(found, Mapping) else {}
    for path, mask in masks.items():
        received = "none"
        if path in scores:
            # Lists, and tensors of any library.
            scores[path] = value = np.asarray(scores[path])
            if value.shape == mask.shape and _is_real(value):
                continue
            received = f"{value.shape}" if _is_real(value) else f"{value.shape} of {value.dtype}"
        raise UsageError(
            f"Expected of the criterion {CRITERIA.name_of(criterion)} a score for every "
            f"weight: an array of numbers of shape {mask.shape} for {path!r}. Received: {received}."
        )
    return scores


def _wide(weights: np.ndarray) -> np.ndarray:
    """Returns weights as float32 or wider, the same array where it is."""
    return np.asarray(weights, np.result_type(weights, np.float32))


def _is_real(scores: np.ndarray) -> bool:
    # numpy does not know bfloat16, but compares it.
    return scores.dtype.kind in "fiub" or scores.dtype.name == "bfloat16"


def choose(
    scores: dict[str, np.ndarray],
    masks: Masks,
    rates: Mapping[str, float | Fraction],
    scope: str,
    base: Masks | None = None,
    units: Units = EVERY_WEIGHT,
) -> Masks:
    """Returns masks without the lowest scores.

    Args:
        scores: weight path -> float array; higher is kept longer.
        masks: weight path -> uint8 array, same keys and shapes.
        rates: weight path -> fraction of the remaining weights to prune.
        scope: how many weights each layer keeps, by its name.
        base: masks whose weights the rates are fractions of; None for `masks`.
        units: what is kept or pruned as one. A rate's number of weights is rounded to whole
            units, halves to an even number of them.

    Example:
    >>> masks = choose({"w": np.arange(4.0)}, {"w": np.ones(4, np.uint8)}, {"w": 0.5}, "layerwise")
    >>> masks["w"]
    array([0, 0, 1, 1], dtype=uint8)
    """
    rates = {path: rates[path] for path in masks}
    shapes = {path: mask.shape for path, mask in masks.items()}
    left, values = units.fold(masks), units.score(scores, masks)
    sizes = {name: units.sizes(name) for name in left}
    before = left if base is None else units.fold({path: base[path] for path in masks})
    counts = {name: select.weigh(mask, sizes[name]) for name, mask in before.items()}
    chosen: Masks = {}
    for names, kept in pools(counts, rates, shapes, scope, units).values():
        now = {name: left[name] for name in names}
        number = sum(select.weigh(mask, sizes[name]) for name, mask in now.items()) - kept
        chosen |= select.lowest(values, now, max(0, number), sizes)
    result = units.unfold(chosen, masks, scores)
    return {path: result[path] for path in masks}


def pools(
    sizes: Mapping[str, int],
    rates: Mapping[str, float | Fraction],
    shapes: Mapping[str, int | tuple[int, ...]],
    scope: str,
    units: Units = EVERY_WEIGHT,
) -> dict[str, tuple[list[str], int]]:
    """Returns what is ranked together: pool -> names of its units, number of weights kept.

    Args:
        sizes: name of units -> number of weights that the rates are fractions of.
        rates: weight path -> fraction of them to prune.
        shapes: weight path -> shape of the whole weight.
        scope: how many weights each layer keeps, by its name.
        units: what is kept or pruned as one; names are weight paths where each is by itself.
    """
    rule = SCOPES.get(scope)()
    rates, shapes = units.rates(rates), units.shapes(shapes)
    found = rule.pools(rates)
    before = {pool: sum(sizes[path] for path in paths) for pool, paths in found.items()}
    kept = rule.kept(
        before,
        {pool: rates[paths[0]] for pool, paths in found.items()},
        {pool: [shapes[path] for path in paths] for pool, paths in found.items()},
    )
    return {
        pool: (names, _whole(units, names, before[pool], kept[pool]))
        for pool, names in found.items()
    }


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
    shapes: Mapping[str, int | tuple[int, ...]],
    rates: Mapping[str, float],
    *,
    levels: int,
    scope: str,
    cumulative: bool = False,
    units: Units = EVERY_WEIGHT,
) -> list[int]:
    """Returns the number of weights remaining at levels 0, 1, ..., levels.

    Of units of unequal size that are ranked together it is what is aimed at: half a unit more
    or less is left.

    Args:
        shapes: weight path -> shape; a number is that of a vector's weights.
        rates: weight path -> fraction of its remaining weights pruned a level.
        levels: number of the last level.
        scope: how many weights each layer keeps, by its name.
        cumulative: every level is pruned from the dense network, not from the one before.
        units: what is kept or pruned as one.

    Raises:
        UsageError: if a layer would lose its last weight.
    """
    total = sum(select.size(shape) for shape in shapes.values())
    # Layers of rate 0 are left as they are, whatever the scope.
    rates = {name: float(rate) for name, rate in units.rates(rates).items() if rate}
    shapes = units.shapes(shapes)
    rule = SCOPES.get(scope)()
    paths = rule.pools(rates)
    by_pool = {pool: [shapes[path] for path in found] for pool, found in paths.items()}
    dense = {pool: sum(map(select.size, found)) for pool, found in by_pool.items()}
    of_pool = {pool: rates[found[0]] for pool, found in paths.items()}
    now, totals = dense, [total]
    for level in range(1, levels + 1):
        rounds, before = (level, dense) if cumulative else (1, now)
        after = {pool: select.rate_after(rounds, rate) for pool, rate in of_pool.items()}
        now = rule.kept(before, after, by_pool)
        now = {pool: _whole(units, paths[pool], before[pool], left) for pool, left in now.items()}
        for pool, left in now.items():
            if left == 0:
                raise UsageError(_emptied(pool, level))
        totals.append(total - sum(dense.values()) + sum(now.values()))
    return totals


def _whole(units: Units, names: list[str], before: int, kept: int) -> int:
    """Returns how many weights of so many stay, in whole units where they are of one size."""
    kept = max(kept, sum(map(units.least, names)))
    sizes = np.unique(np.concatenate([np.ravel(units.sizes(name)) for name in names]))
    sizes = sizes[sizes > 0]
    if len(sizes) > 1:
        return kept
    return before - select.whole(before - kept, int(sizes[0])) * int(sizes[0])


def _emptied(path: str, level: int) -> str:
    return (
        f"Expected every layer to keep at least one weight. Received: level {level} would "
        f"prune the last weight of {path!r}. Use fewer levels or a smaller prune rate."
    )
