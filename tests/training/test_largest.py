import numpy as np
import tensorflow as tf

from lth_tf.training.largest import at_least_kth, largest


def test_largest_is_exact_among_equals():
    values = tf.constant([[1.0, 3.0], [3.0, 3.0]])
    assert largest(values, 2).numpy().tolist() == [[False, True], [True, False]]
    assert largest(values, 0).numpy().sum() == 0
    assert largest(values, 4).numpy().all()


def test_at_least_kth_is_what_sorting_finds():
    random = np.random.default_rng(0)
    values = np.abs(random.normal(size=1000) * 10.0 ** random.integers(-30, 30, 1000))
    values = values.astype(np.float32)
    for count in (1, 2, 500, 999, 1000):
        limit = np.sort(values)[-count]
        for compiled in (at_least_kth, tf.function(at_least_kth, jit_compile=True)):
            np.testing.assert_array_equal(compiled(tf.constant(values), count), values >= limit)


def test_ties_are_all_kept():
    kept = at_least_kth(tf.constant([2.0, 0.0, 2.0, 1.0]), 1)
    assert kept.numpy().tolist() == [True, False, True, False]
