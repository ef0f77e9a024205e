"""Reads kernels that `export.saved_model.coding` has coded, with stock TensorFlow operations.

The operations become part of the exported file and run once, when it is loaded: in a loop,
kernel by kernel, so that neither their number nor the memory they take grows with the network.
What they read is a file beside the graph: TensorFlow keeps several copies of a graph's constants.
"""

import numpy as np
import tensorflow as tf

from lth_tf.errors import UsageError

from .coding import Coded

_raw = tf.raw_ops
_shift_left = tf.bitwise.left_shift
_shift_right = tf.bitwise.right_shift
_MOST_BYTES = 2**31 - 1


class Decoder:
    """Reads one kernel after the other.

    Args:
        coded: the kernels.

    Attributes:
        content: the bytes that are read, for `__call__` to be given.

    Raises:
        UsageError: if there are 2**31 bytes or more.
    """

    def __init__(self, coded: Coded):
        self._numbers_are = coded.numbers_are
        self._of_values = max(kernel.numbers.shape[0] for kernel in coded.kernels)
        parts = [kernel.parts() for kernel in coded.kernels]
        self.content = b"".join(part for kernel in parts for part in kernel)
        if len(self.content) > _MOST_BYTES:
            raise UsageError(
                f"Expected fewer than 2**31 bytes of coded kernels. Received: {len(self.content)}."
            )
        sizes = np.array([[len(part) for part in kernel] for kernel in parts])
        scales = [kernel.scales for kernel in coded.kernels]
        ranks = np.array([len(kernel.shape) for kernel in coded.kernels])
        counts = np.array([scale.size for scale in scales])
        columns = (
            [kernel.count for kernel in coded.kernels],
            [kernel.low_bits for kernel in coded.kernels],
            [kernel.low.shape[1] for kernel in coded.kernels],
            *(np.cumsum(sizes) - sizes.ravel()).reshape(sizes.shape).T,
            *sizes.T[[0, 2]],
            np.cumsum(counts) - counts,
            np.maximum(1, counts),
            np.cumsum(ranks) - ranks,
            ranks,
        )
        self._table = np.stack(columns, axis=1).astype(np.int32)
        self._lengths = np.concatenate([kernel.shape for kernel in coded.kernels]).astype(np.int32)
        self._scales = np.concatenate(scales)

    def __len__(self) -> int:
        """Returns the number of kernels."""
        return len(self._table)

    def __call__(self, kernel: int | tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        """Returns a kernel, float32, by its place; `content` is a string, the bytes."""
        row = tf.unstack(tf.gather(self._table, kernel), num=self._table.shape[1])
        count, width, plane, first_unary, first_low, first_number, unary, number = row[:8]
        scale, period, first_length, rank = row[8:]
        lengths = _slice(self._lengths, first_length, rank)
        ends = _ones(_bytes(content, first_unary, unary))
        low = _raw.Reshape(
            tensor=_bytes(content, first_low, width * plane), shape=tf.stack([width, plane])
        )
        # A gap is its unary part times 2**width plus its low bits; a position is the sum of the
        # gaps up to it and the number of weights before it. Sums of unary parts are in `ends`.
        before = tf.range(count)
        positions = _shift_left(ends - before, width) + before
        positions += tf.cumsum(_slice(_numbers(low, width), 0, count))
        numbers = _raw.Substr(input=content, pos=first_number, len=number)
        numbers = tf.io.decode_raw(tf.io.decode_compressed(numbers, "ZLIB"), tf.uint8)
        values = self._values(numbers, scale, period, positions)
        # Raw operations: each function of tf.* adds several to the file.
        flat = _raw.SparseToDense(
            sparse_indices=positions,
            output_shape=_raw.Prod(input=lengths, axis=[0], keep_dims=True),
            sparse_values=values,
            default_value=0.0,
            validate_indices=False,
        )
        return _raw.Reshape(tensor=flat, shape=lengths)

    def _values(
        self, numbers: tf.Tensor, scale: tf.Tensor, period: tf.Tensor, positions: tf.Tensor
    ) -> tf.Tensor:
        """Returns the values of the stored weights, float32."""
        if self._numbers_are in ("float32", "float16"):
            planes = _raw.Reshape(tensor=numbers, shape=[self._of_values, -1])
            numbers = tf.bitcast(_raw.Transpose(x=planes, perm=[1, 0]), self._numbers_are)
            return numbers if self._numbers_are == "float32" else tf.cast(numbers, tf.float32)
        if self._numbers_are == "indices":
            return tf.gather(self._scales, scale + tf.cast(numbers, tf.int32))
        steps = tf.cast(tf.bitcast(numbers, tf.int8), tf.float32)
        return steps * tf.gather(self._scales, scale + tf.math.floormod(positions, period))

    def into(self, stored: tf.Tensor, content: tf.Tensor) -> tf.Tensor:
        """Returns a list of tensors, a variant, with the kernels added to it."""

        def add(kernel: tf.Tensor, stored: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            decoded = self(kernel, content)
            return kernel + 1, _raw.TensorListPushBack(input_handle=stored, tensor=decoded)

        _, stored = tf.while_loop(
            lambda kernel, _: kernel < len(self), add, (0, stored), parallel_iterations=1
        )
        return stored


def decode(coded: Coded) -> list[tf.Tensor]:
    """Returns the kernels, float32, of their own shapes."""
    decoder = Decoder(coded)
    content = tf.constant(decoder.content)
    return [decoder(kernel, content) for kernel in range(len(decoder))]


def _bytes(content: tf.Tensor, start: tf.Tensor, size: tf.Tensor) -> tf.Tensor:
    return tf.io.decode_raw(_raw.Substr(input=content, pos=start, len=size), tf.uint8)


def _slice(numbers: tf.Tensor | np.ndarray, start: tf.Tensor | int, size: tf.Tensor) -> tf.Tensor:
    begin, size = (_raw.ExpandDims(input=number, axis=0) for number in (start, size))
    return _raw.Slice(input=numbers, begin=begin, size=size)


def _bits(numbers: tf.Tensor) -> tf.Tensor:
    """Returns the bits of bytes, the lowest first; uint8 [..., 8]."""
    return _shift_right(_raw.ExpandDims(input=numbers, axis=-1), np.arange(8, dtype=np.uint8)) & 1


def _ones(unary: tf.Tensor) -> tf.Tensor:
    """Returns the places of the ones among the bits of bytes, int32."""
    bits = _raw.Reshape(tensor=_bits(unary), shape=[-1])
    places = _raw.Where(condition=tf.cast(bits, tf.bool))
    return _raw.Reshape(tensor=tf.cast(places, tf.int32), shape=[-1])


def _numbers(planes: tf.Tensor, width: tf.Tensor) -> tf.Tensor:
    """Returns the numbers, int32, of which there is a bit in each of `width` planes of bytes."""
    shifts = _raw.Reshape(tensor=tf.range(width), shape=[-1, 1, 1])
    numbers = tf.reduce_sum(_shift_left(tf.cast(_bits(planes), tf.int32), shifts), axis=0)
    return _raw.Reshape(tensor=numbers, shape=[-1])
