"""Masks as plain data: dict of weight path -> uint8 array; 1 keeps, 0 prunes.

numpy only. `lth_tf.masking.model` reads masks from a model and writes them into one.
"""

import os
import pathlib

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.files import read_arrays, write_arrays

Masks = dict[str, np.ndarray]

_SHAPE = "#shape"


def remaining(masks: Masks) -> int:
    """Returns the number of weights kept."""
    return sum(int(np.count_nonzero(mask)) for mask in masks.values())


def total(masks: Masks) -> int:
    """Returns the number of prunable weights."""
    return sum(mask.size for mask in masks.values())


def density(masks: Masks) -> float:
    """Returns the fraction of prunable weights kept, the paper's P_m / 100.

    Example:
    >>> density({"a": np.array([1, 0, 0, 1], np.uint8)})
    0.5
    """
    return remaining(masks) / total(masks)


def check_same_weights(expected: dict[str, np.ndarray], received: dict[str, np.ndarray]) -> None:
    """Checks that two dicts hold arrays of the same paths and shapes.

    Raises:
        ValueError: naming the first path that is missing, unknown or of
            another shape.
    """
    for path in expected.keys() - received.keys():
        raise ValueError(f"Expected a value for {path!r}. Received: {_few(received)}.")
    for path in received.keys() - expected.keys():
        raise ValueError(f"Expected one of {_few(expected)}. Received: {path!r}.")
    for path, array in expected.items():
        if array.shape != received[path].shape:
            raise ValueError(
                f"Expected shape {array.shape} for {path!r}. "
                f"Received: shape={received[path].shape}."
            )


def zero_where_pruned(weights: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """Returns `weights * mask`, with 0 also where a pruned weight is not finite.

    Example:
    >>> zero_where_pruned(np.array([1.0, np.inf]), np.array([1, 0], np.uint8))
    array([1., 0.])
    """
    # The sign of a product with 0: files stay the same to the bit.
    return np.where(mask, weights, np.copysign(weights.dtype.type(0), weights))


def pack(masks: Masks) -> dict[str, np.ndarray]:
    """Returns arrays for a file: one bit a weight, and each shape."""
    arrays = {}
    for path, mask in masks.items():
        arrays[path] = np.packbits(mask.ravel())
        arrays[path + _SHAPE] = np.array(mask.shape, np.int64)
    return arrays


def unpack(arrays: dict[str, np.ndarray]) -> Masks:
    """Returns the masks that `pack` wrote.

    Raises:
        ValueError: if the arrays are not packed masks.
    """
    masks = {}
    for path, bits in arrays.items():
        if path.endswith(_SHAPE):
            continue
        shape = tuple(arrays[path + _SHAPE]) if path + _SHAPE in arrays else None
        count = None if shape is None else int(np.prod(shape))
        if count is None or bits.dtype != np.uint8 or bits.size != -(-count // 8):
            raise ValueError(f"Expected packed masks. Received: an array {path!r} that is not one.")
        masks[path] = np.unpackbits(bits, count=count).reshape(shape)
    if not masks:
        raise ValueError("Expected packed masks. Received: none.")
    return masks


def save(path: str | os.PathLike, masks: Masks) -> None:
    """Writes masks to an .npz file, one bit a weight."""
    write_arrays(pathlib.Path(path), pack(masks))


def load(path: str | os.PathLike) -> Masks:
    """Reads the masks that `save` wrote.

    Raises:
        UsageError: if the file is missing, damaged or holds no masks.
    """
    try:
        return unpack(read_arrays(pathlib.Path(path)))
    except ValueError as error:
        raise UsageError(f"Expected a mask file. Received: {path} ({error}).") from error


def _few(paths: dict) -> str:
    shown = list(paths)[:5]
    return ", ".join(map(repr, shown)) + (", ..." if len(paths) > 5 else "")
