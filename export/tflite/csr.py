"""Compressed sparse rows for arrays of any rank, as TFLite stores them.

All axes but one are walked in order, every place in them; for each the nonzeros
along the last one are listed: their positions (indices) and values, and where the
list of each row begins (segments). Which axis comes last decides the size: few
rows mean few segments, an axis of at most 256 means one byte an index.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Csr:
    """A sparse array.

    Attributes:
        shape: of the dense array.
        order: its axes as they are walked; nonzeros are listed along the last.
        segments: where each row begins, and the end; [rows + 1].
        indices: position of each nonzero along the last axis.
        values: the nonzeros, in the dtype of the array.
    """

    shape: tuple[int, ...]
    order: tuple[int, ...]
    segments: np.ndarray
    indices: np.ndarray
    values: np.ndarray

    @property
    def nbytes(self) -> int:
        """Bytes of segments, indices and values."""
        return self.segments.nbytes + self.indices.nbytes + self.values.nbytes


def encode(array: np.ndarray, order: tuple[int, ...]) -> Csr:
    """Returns an array as compressed sparse rows.

    Args:
        array: any shape of rank >= 1, any numeric dtype.
        order: a permutation of its axes.

    Example:
    >>> csr = encode(np.array([[0, 5, 0], [7, 0, 6]], np.int8), (0, 1))
    >>> csr.segments.tolist(), csr.indices.tolist(), csr.values.tolist()
    ([0, 1, 3], [1, 0, 2], [5, 7, 6])
    """
    rows = array.transpose(order).reshape(-1, array.shape[order[-1]])
    row, indices = np.nonzero(rows)
    if not len(row):
        # Readers take a constant without values for none at all: store one zero.
        row = indices = np.zeros(1, np.int64)
    counts = np.bincount(row, minlength=len(rows))
    segments = np.concatenate([[0], np.cumsum(counts)])
    return Csr(array.shape, order, _smallest(segments), _smallest(indices), rows[row, indices])


def decode(csr: Csr) -> np.ndarray:
    """Returns the dense array.

    Example:
    >>> array = np.array([[0, 5, 0], [7, 0, 6]], np.int8)
    >>> decode(encode(array, (1, 0))).tolist()
    [[0, 5, 0], [7, 0, 6]]
    """
    walked = [csr.shape[axis] for axis in csr.order]
    rows = np.zeros((int(np.prod(walked[:-1])), walked[-1]), csr.values.dtype)
    segments = csr.segments.astype(np.int64)
    row = np.repeat(np.arange(len(rows)), segments[1:] - segments[:-1])
    rows[row, csr.indices] = csr.values
    return rows.reshape(walked).transpose(np.argsort(csr.order))


def smallest(array: np.ndarray) -> Csr:
    """Returns an array as the compressed sparse rows of the fewest bytes."""
    used = array != 0
    nonzeros = max(1, int(used.sum()))

    def size(axis: int) -> int:
        length = array.shape[axis]
        used_there = np.flatnonzero(used.any(tuple(i for i in range(array.ndim) if i != axis)))
        last_index = int(np.max(used_there, initial=0))
        rows = array.size // length
        return nonzeros * _itemsize(last_index) + (rows + 1) * _itemsize(nonzeros)

    last = min(range(array.ndim), key=size)
    return encode(array, (*(axis for axis in range(array.ndim) if axis != last), last))


def _itemsize(largest: int) -> int:
    return 1 if largest < 2**8 else 2 if largest < 2**16 else 4


def _smallest(numbers: np.ndarray) -> np.ndarray:
    """The numbers in the smallest type that TFLite has for them."""
    dtypes = {1: np.uint8, 2: np.uint16, 4: np.int32}
    return numbers.astype(dtypes[_itemsize(numbers.max(initial=0))])
