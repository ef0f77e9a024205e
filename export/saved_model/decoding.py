"""Reads kernels that `export.saved_model.coding` has coded, with stock TensorFlow operations.

The operations become part of the exported file and run once, when it is loaded: in a loop,
kernel by kernel, so that neither their number nor the memory they take grows with the network.
"""

import numpy as np
import tensorflow as tf

from .coding import Coded, deflated

_raw = tf.raw_ops
_shift_left = tf.bitwise.left_shift
_shift_right = tf.bitwise.right_shift


class Decoder:
    """Reads one kernel after the other.

    In a function that is traced, only the coded bytes become constants of it.

    Args:
        coded: the kernels.
    """

    def __init__(self, coded: Coded):
        self._coded = coded
        self._unary, self._low = tf.constant(coded.unary), tf.constant(coded.low)
        numbers = tf.io.decode_raw(_numbers(coded), tf.uint8)
        self._numbers = _raw.Reshape(tensor=numbers, shape=coded.numbers.shape)
        table = coded.table
        ranks = np.array([len(shape) for shape in coded.shapes])
        rows = (
            table.counts,
            table.low_bits,
            table.unary_starts[:-1],
            np.diff(table.unary_starts),
            table.low_starts,
            table.first_numbers,
            table.periods,
            table.first_scales,
            np.cumsum(ranks) - ranks,
            ranks,
        )
        self._table = tf.constant(np.stack(rows, axis=1).astype(np.int32))
        self._lengths = tf.constant(np.concatenate(coded.shapes).astype(np.int32))

    def __call__(self, kernel: int | tf.Tensor) -> tf.Tensor:
        """Returns a kernel, float32, by its place."""
        row = tf.unstack(tf.gather(self._table, kernel), num=10)
        count, width, unary, unary_size, low, number, period, scale, first_length, rank = row
        shape = _slice(self._lengths, first_length, rank)
        gaps = self._gaps(_slice(self._unary, unary, unary_size), low, width, count)
        positions = tf.cumsum(gaps + 1) - 1
        values = self._values(number, count, scale, period, positions)
        # Raw operations: each function of tf.* adds several to the file.
        flat = _raw.ScatterNd(
            indices=_raw.ExpandDims(input=positions, axis=1),
            updates=values,
            shape=_raw.Prod(input=shape, axis=[0], keep_dims=True),
        )
        return _raw.Reshape(tensor=flat, shape=shape)

    def _gaps(
        self, unary: tf.Tensor, low: tf.Tensor, width: tf.Tensor, count: tf.Tensor
    ) -> tf.Tensor:
        """Returns how many zeros lie before each stored weight, int32."""
        bits = _shift_right(_raw.ExpandDims(input=unary, axis=1), np.arange(8, dtype=np.uint8)) & 1
        ends = tf.cast(_raw.Where(condition=tf.reshape(bits, [-1]))[:, 0], tf.int32)
        high = ends - tf.concat([[-1], ends[:-1]], 0) - 1
        first = tf.range(count) * width
        places = low + first // 8
        window = tf.gather(self._low, _raw.ExpandDims(input=places, axis=1) + [[0, 1, 2, 3]])
        window = tf.bitcast(window, tf.int32)
        return _shift_left(high, width) + (
            _shift_right(window, first % 8) & (_shift_left(1, width) - 1)
        )

    def _values(
        self,
        number: tf.Tensor,
        count: tf.Tensor,
        scale: tf.Tensor,
        period: tf.Tensor,
        positions: tf.Tensor,
    ) -> tf.Tensor:
        """Returns the values of the stored weights, float32."""
        coded = self._coded
        numbers = tf.gather(self._numbers, number + tf.range(count), axis=1)
        if coded.numbers_are in ("float32", "float16"):
            numbers = tf.bitcast(_raw.Transpose(x=numbers, perm=[1, 0]), coded.numbers_are)
            return numbers if coded.numbers_are == "float32" else tf.cast(numbers, tf.float32)
        if coded.numbers_are == "indices":
            return tf.gather(
                coded.scales, scale + tf.cast(_raw.Reshape(tensor=numbers, shape=[-1]), tf.int32)
            )
        scales = scale + tf.math.floormod(positions, period)
        steps = tf.cast(tf.bitcast(_raw.Reshape(tensor=numbers, shape=[-1]), tf.int8), tf.float32)
        return steps * tf.gather(coded.scales, scales)


def decode(coded: Coded) -> list[tf.Tensor]:
    """Returns the kernels, float32, of their own shapes."""
    decoder = Decoder(coded)
    return [decoder(kernel) for kernel in range(len(coded.shapes))]


def decode_into(stored: tf.Tensor, coded: Coded) -> tf.Tensor:
    """Returns a list of tensors, a variant, with the kernels added to it."""
    decoder = Decoder(coded)

    def add(kernel: tf.Tensor, stored: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        added = _raw.TensorListPushBack(input_handle=stored, tensor=decoder(kernel))
        return kernel + 1, added

    _, stored = tf.while_loop(
        lambda kernel, _: kernel < len(coded.shapes), add, (0, stored), parallel_iterations=1
    )
    return stored


def _slice(numbers: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    begin, size = (_raw.Reshape(tensor=number, shape=[1]) for number in (start, size))
    return _raw.Slice(input=numbers, begin=begin, size=size)


def _numbers(coded: Coded) -> tf.Tensor:
    """Returns the bytes of all numbers, deflated in the file if that is smaller."""
    small = deflated(coded.numbers)
    if len(small) < coded.numbers.size:
        return tf.io.decode_compressed(small, "ZLIB")
    return tf.constant(coded.numbers.tobytes())
