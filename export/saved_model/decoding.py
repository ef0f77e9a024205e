"""Reads kernels that `export.coding` has coded, with stock TensorFlow operations.

The operations become part of the exported file and run once, when it is loaded.
Gaps, bits and values of all kernels are read together: the number of operations
does not grow with the number of kernels, but for a slice and a reshape.
"""

import numpy as np
import tensorflow as tf

from export.saved_model.coding import Coded, deflated

_raw = tf.raw_ops
_left = tf.bitwise.left_shift
_right = tf.bitwise.right_shift


def decode(coded: Coded) -> list[tf.Tensor]:
    """Returns the kernels, float32, of their own shapes.

    In a function that is traced, only the coded bytes become constants of it.
    """
    kernel = _kernel_of_each_weight(coded)
    gaps = _gaps(coded, kernel)
    table = coded.table
    positions = tf.cumsum(gaps + 1) + tf.gather(table.skips, kernel)
    values = _values(coded, kernel, positions)
    sizes = [_size(shape) for shape in coded.shapes]
    # Raw operations: each function of tf.* adds several to the file.
    flat = _raw.ScatterNd(
        indices=_raw.ExpandDims(input=positions, axis=1), updates=values, shape=[sum(sizes)]
    )
    pieces = _raw.SplitV(value=flat, size_splits=sizes, axis=0, num_split=len(sizes))
    return [
        _raw.Reshape(tensor=piece, shape=shape)
        for piece, shape in zip(pieces, coded.shapes, strict=True)
    ]


def _kernel_of_each_weight(coded: Coded) -> tf.Tensor:
    """Returns the index of the kernel that each stored weight belongs to."""
    ends = coded.table.counts.cumsum(dtype=np.int32)[np.newaxis]
    weights = tf.range(int(ends[0, -1]))[tf.newaxis]
    kernel = _raw.UpperBound(sorted_inputs=ends, values=weights, out_type=tf.int32)
    return tf.reshape(kernel, [-1])


def _gaps(coded: Coded, kernel: tf.Tensor) -> tf.Tensor:
    """Returns how many zeros lie before each stored weight, int32."""
    bits = _right(tf.constant(coded.unary)[:, tf.newaxis], np.arange(8, dtype=np.uint8))
    ends = tf.cast(_raw.Where(condition=tf.reshape(bits & 1, [-1]))[:, 0], tf.int32)
    high = ends - tf.concat([[-1], ends[:-1]], 0) - 1
    widths = tf.gather(coded.table.low_bits, kernel)
    first = tf.cumsum(widths, exclusive=True)
    window = tf.gather(tf.constant(coded.low), tf.range(4) + first[:, tf.newaxis] // 8)
    window = tf.reduce_sum(_left(tf.cast(window, tf.int32), [[0, 8, 16, 24]]), 1)
    low = _right(window, first % 8) & (_left(1, widths) - 1)
    return _left(high, widths) + low


def _values(coded: Coded, kernel: tf.Tensor, positions: tf.Tensor) -> tf.Tensor:
    """Returns the values of the stored weights, float32."""
    table, numbers = coded.table, _numbers(coded)
    if coded.numbers_are in ("float32", "float16"):
        planes = tf.reshape(tf.io.decode_raw(numbers, tf.uint8), [coded.numbers.shape[0], -1])
        return tf.cast(tf.bitcast(tf.transpose(planes), coded.numbers_are), tf.float32)
    first = tf.gather(table.first_scales, kernel)
    if coded.numbers_are == "indices":
        indices = tf.cast(tf.io.decode_raw(numbers, tf.uint8), tf.int32)
        return tf.gather(coded.scales, first + indices)
    offset = positions - tf.gather(table.starts, kernel)
    scales = first + tf.math.floormod(offset, tf.gather(table.periods, kernel))
    return tf.cast(tf.io.decode_raw(numbers, tf.int8), tf.float32) * tf.gather(coded.scales, scales)


def _numbers(coded: Coded) -> tf.Tensor:
    """Returns the bytes of all numbers, deflated in the file if that is smaller."""
    small = deflated(coded.numbers)
    if len(small) < coded.numbers.size:
        return tf.io.decode_compressed(small, "ZLIB")
    return tf.constant(coded.numbers.tobytes())


def _size(shape: tuple[int, ...]) -> int:
    size = 1
    for length in shape:
        size *= length
    return size
