"""Masks of the largest values, exact in their number, inside compiled functions."""

import tensorflow as tf


def largest(values: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Returns a mask of the `count` largest values; of equal ones the first.

    Args:
        values: float tensor of any shape.
        count: int32 scalar.

    Returns:
        bool tensor of that shape.
    """
    flat = tf.reshape(values, [-1])
    _, order = tf.math.top_k(flat, flat.shape[0])
    kept = tf.range(flat.shape[0]) < count
    mask = tf.scatter_nd(order[:, tf.newaxis], tf.cast(kept, tf.int32), flat.shape)
    return tf.cast(tf.reshape(mask, values.shape), tf.bool)


def at_least_kth(values: tf.Tensor, count: tf.Tensor | int) -> tf.Tensor:
    """Returns a mask of the values that are at least the `count`-th largest; more if it is tied.

    The bits of the value are found one by one, which takes 31 passes and no sorting.

    Args:
        values: float32 tensor of any shape, no value negative.
        count: int32 scalar.

    Returns:
        bool tensor of that shape.
    """
    bits = tf.bitcast(values, tf.int32)

    def find(bit: tf.Tensor, limit: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        candidate = limit + tf.bitwise.left_shift(1, bit)
        enough = tf.math.count_nonzero(bits >= candidate, dtype=tf.int32) >= count
        return bit - 1, tf.where(enough, candidate, limit)

    _, limit = tf.while_loop(lambda bit, _: bit >= 0, find, (30, 0), maximum_iterations=31)
    return bits >= limit
