"""Which weights go: exact counts of the lowest scores, never a threshold."""

import numpy as np

from lth_tf.masks import Masks


def count(remaining: int, rate: float) -> int:
    """Returns how many of the remaining weights a rate prunes, rounded to nearest.

    Example:
    >>> count(1000, 0.1), count(7, 0.2)
    (100, 1)
    """
    return round(rate * remaining)


def lowest(scores: np.ndarray, mask: np.ndarray, number: int) -> np.ndarray:
    """Returns the mask without its `number` lowest-scored weights.

    Equal scores are pruned in the order of their index.

    Args:
        scores: float array, any shape; higher is kept longer.
        mask: uint8 array, same shape; 1 keeps. Not changed.
        number: how many to prune, at most as many as remain.

    Returns:
        uint8 array, same shape.

    Raises:
        ValueError: if fewer than `number` weights remain, or a remaining weight's
            score is NaN.

    Example:
    >>> mask = np.ones(5, np.uint8)
    >>> lowest(np.array([3.0, 1.0, 2.0, 1.0, 1.0]), mask, 2)
    array([1, 0, 1, 0, 1], dtype=uint8)
    """
    kept = np.flatnonzero(mask)
    if number > kept.size:
        raise ValueError(
            f"Expected at most {kept.size} weights to prune, as many as remain. "
            f"Received: number={number}."
        )
    values = scores.ravel()[kept]
    if np.isnan(values).any():
        raise ValueError("Expected a score for every remaining weight. Received: NaN.")
    result = mask.copy()
    if number:
        limit = np.partition(values, number - 1)[number - 1]
        below = values < limit
        equal = np.flatnonzero(values == limit)[: number - np.count_nonzero(below)]
        flat = result.reshape(-1)
        flat[kept[below]] = 0
        flat[kept[equal]] = 0
    return result


def layerwise(scores: dict[str, np.ndarray], masks: Masks, rates: dict[str, float]) -> Masks:
    """Prunes each layer by its own rate (paper, section 2).

    Args:
        scores: weight path -> float array; higher is kept longer.
        masks: weight path -> uint8 array, same keys and shapes.
        rates: weight path -> fraction of the remaining weights to prune.

    Returns:
        New masks.
    """
    return {
        path: lowest(scores[path], mask, count(np.count_nonzero(mask), rates[path]))
        for path, mask in masks.items()
    }


def across_layers(scores: dict[str, np.ndarray], masks: Masks, rates: dict[str, float]) -> Masks:
    """Ranks the weights of all layers that share a rate together (paper, section 4).

    Args and result are those of `layerwise`.
    """
    result: Masks = {}
    for rate in sorted({rates[path] for path in masks}):
        paths = [path for path in masks if rates[path] == rate]
        pooled_scores = np.concatenate([scores[path].ravel() for path in paths])
        pooled = np.concatenate([masks[path].ravel() for path in paths])
        pooled = lowest(pooled_scores, pooled, count(np.count_nonzero(pooled), rate))
        ends = np.cumsum([masks[path].size for path in paths])
        for path, part in zip(paths, np.split(pooled, ends[:-1]), strict=True):
            result[path] = part.reshape(masks[path].shape)
    return {path: result[path] for path in masks}
