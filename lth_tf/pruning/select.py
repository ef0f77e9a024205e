"""Which weights go: exact counts of the lowest scores, never a threshold."""

import math
from collections.abc import Mapping
from fractions import Fraction

import numpy as np

from lth_tf.masking.arrays import Masks


def rate_after(rounds: int, rate: float) -> Fraction:
    """Returns the fraction that `rounds` levels prune together, 1 - (1 - rate)^rounds.

    Exact, of the rate as it is written: floats would make 1 - (1 - 0.1) less than 0.1,
    and 35 weights lose 3 instead of 4.

    Example:
    >>> rate_after(1, 0.1), rate_after(2, 0.1)
    (Fraction(1, 10), Fraction(19, 100))
    """
    return 1 - (1 - _exact(rate)) ** rounds


def size(shape: int | tuple[int, ...]) -> int:
    """Returns the number of weights of a shape; a number is a vector's length."""
    return shape if isinstance(shape, int) else math.prod(shape)


def count(remaining: int, rate: float | Fraction) -> int:
    """Returns how many of the remaining weights a rate prunes.

    Rounded to nearest; halves, which are those of the rate as it is written, to even.

    Example:
    >>> count(1000, 0.1), count(7, 0.2), count(35, 0.1)
    (100, 1, 4)
    """
    return round(_exact(rate) * int(remaining))


def _exact(rate: float | Fraction) -> Fraction:
    return rate if isinstance(rate, Fraction) else Fraction(repr(float(rate)))


def whole(number: int, size: int) -> int:
    """Returns the number of units of a size that come nearest to a number of weights.

    Example:
    >>> whole(25, 10), whole(35, 10), whole(36, 10)
    (2, 4, 4)
    """
    return round(Fraction(number, size))


def weigh(mask: np.ndarray, size: int | np.ndarray) -> int:
    """Returns the number of weights of the units that a mask keeps.

    Args:
        mask: uint8 array of units.
        size: weights of a unit, or of each.
    """
    if isinstance(size, np.ndarray):
        return int(size[mask != 0].sum())
    return int(np.count_nonzero(mask)) * size


def lowest(
    scores: dict[str, np.ndarray],
    masks: Masks,
    number: int,
    sizes: Mapping[str, int | np.ndarray] | None = None,
) -> Masks:
    """Returns the masks without their `number` lowest-scored weights, or units of weights.

    All layers are ranked together. Equal scores are pruned in the order of their
    layer and index.

    Args:
        scores: weight path -> float array; higher is kept longer.
        masks: weight path -> uint8 array, same keys and shapes; 1 keeps. Not changed.
        number: how many weights to prune, at most as many as remain.
        sizes: path -> number of weights of a unit, or of each unit; None for 1. As many units
            are pruned as come nearest to `number`; of two that do, the even number of them.

    Returns:
        New masks.

    Raises:
        ValueError: if fewer than `number` weights remain, or a remaining weight's
            score is NaN.

    Example:
    >>> masks = {"w": np.ones(5, np.uint8)}
    >>> lowest({"w": np.array([3.0, 1.0, 2.0, 1.0, 1.0])}, masks, 2)["w"]
    array([1, 0, 1, 0, 1], dtype=uint8)
    """
    if number == 0:
        return {path: mask.copy() for path, mask in masks.items()}
    if sizes is not None and any(np.any(sizes[path] != 1) for path in masks):
        return _lowest_units(scores, masks, number, sizes)
    values = _remaining_scores(scores, masks)
    if number > values.size:
        raise ValueError(
            f"Expected at most {values.size} weights to prune, as many as remain. "
            f"Received: number={number}."
        )
    # In place: for 20 million weights every copy counts. NaN sorts last.
    values.partition((number - 1, values.size - 1))
    if np.isnan(values[-1]):
        raise ValueError("Expected a score for every remaining weight. Received: NaN.")
    limit = values[number - 1]
    ties = number - np.count_nonzero(values[:number] < limit)
    del values
    result = {}
    for path, mask in masks.items():
        kept = (mask != 0) & (scores[path] >= limit)
        equal = np.flatnonzero(kept & (scores[path] == limit))[:ties]
        ties -= equal.size
        kept.reshape(-1)[equal] = False
        result[path] = kept.view(np.uint8)
    return result


def _lowest_units(
    scores: dict[str, np.ndarray],
    masks: Masks,
    number: int,
    sizes: Mapping[str, int | np.ndarray],
) -> Masks:
    values = _remaining_scores(scores, masks)
    if np.isnan(values).any():
        raise ValueError("Expected a score for every remaining weight. Received: NaN.")
    parts = [np.broadcast_to(sizes[path], mask.shape)[mask != 0] for path, mask in masks.items()]
    order = np.argsort(values, kind="stable")
    pruned = np.concatenate([[0], np.cumsum(np.concatenate(parts)[order], dtype=np.int64)])
    off = np.abs(pruned - number)
    nearest = np.flatnonzero(off == off.min())
    count = nearest[nearest % 2 == 0][0] if (nearest % 2 == 0).any() else nearest[0]
    kept = np.ones(values.size, np.uint8)
    kept[order[:count]] = 0
    result, start = {}, 0
    for path, mask in masks.items():
        result[path] = mask.copy()
        end = start + np.count_nonzero(mask)
        result[path][mask != 0] = kept[start:end]
        start = int(end)
    return result


def as_many(scores: dict[str, np.ndarray], masks: Masks, wanted: Masks) -> Masks:
    """Returns masks of the highest scores, as many of each layer as `wanted` keeps.

    Args:
        scores: weight path -> float array.
        masks: weight path -> uint8 array: what is chosen from.
        wanted: weight path -> uint8 array of the layers to choose for, at most as many kept.

    Example:
    >>> scores = {"w": np.array([3.0, 1.0, 2.0])}
    >>> ones = {"w": np.ones(3, np.uint8)}
    >>> as_many(scores, ones, {"w": np.array([0, 0, 1], np.uint8)})["w"]
    array([1, 0, 0], dtype=uint8)
    """
    result: Masks = {}
    for path, kept in wanted.items():
        number = int(np.count_nonzero(masks[path])) - int(np.count_nonzero(kept))
        result |= lowest(scores, {path: masks[path]}, number)
    return result


def _remaining_scores(scores: dict[str, np.ndarray], masks: Masks) -> np.ndarray:
    # Filled layer by layer: putting a list of parts together would hold them twice.
    ends = np.cumsum([np.count_nonzero(mask) for mask in masks.values()])
    values = np.empty(ends[-1], np.result_type(*(scores[path] for path in masks)))
    for end, (path, mask) in zip(ends, masks.items(), strict=True):
        part = scores[path][mask != 0]
        values[end - part.size : end] = part
    return values
