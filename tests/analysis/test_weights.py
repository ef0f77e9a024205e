"""What weights tell, on weights that can be followed by hand."""

import numpy as np
import pytest

from lth_tf.analysis.base import ALL
from lth_tf.analysis.initial_weights import histogram
from lth_tf.analysis.large_weights import top_overlap
from lth_tf.analysis.movement import Way, movement
from lth_tf.analysis.signs import sign_agreement

MASKS = {"a": np.uint8([1, 1, 1, 0]), "b": np.uint8([[1], [0]])}
BEFORE = {
    "a": np.float32([1.0, -2.0, 3.0, 4.0]),
    "b": np.float32([[-1.0], [5.0]]),
    "bias": np.float32([9.0]),
}
AFTER = {
    "a": np.float32([-1.0, -3.0, 2.5, 4.5]),
    "b": np.float32([[-1.5], [1.0]]),
    "bias": np.float32([0.0]),
}


def test_signs_of_the_weights_kept():
    found = sign_agreement(MASKS, BEFORE, AFTER)
    assert found == {ALL: 3 / 4, "a": pytest.approx(2 / 3), "b": 1.0}
    assert np.isnan(sign_agreement({"a": np.zeros(4)}, BEFORE, AFTER)["a"])


def test_a_zero_has_no_sign_but_its_own():
    before, after = {"a": np.array([0.0, 0.0])}, {"a": np.array([0.0, 1.0])}
    assert sign_agreement({"a": np.ones(2)}, before, after)["a"] == 0.5


def test_way_of_the_weights_kept_and_of_the_others():
    found = movement(MASKS, BEFORE, AFTER)
    # Distances of a: 2, 1, 0.5 and 0.5 of the pruned one; -1 is as far from 0 as 1 was.
    assert found["a"] == Way(
        kept=pytest.approx(3.5 / 3), pruned=0.5, outwards_kept=1 / 3, outwards_pruned=1.0
    )
    assert found["b"] == Way(kept=0.5, pruned=4.0, outwards_kept=1.0, outwards_pruned=0.0)
    assert found[ALL] == Way(kept=1.0, pruned=2.25, outwards_kept=0.5, outwards_pruned=0.5)
    whole = movement({"b": np.ones((2, 1))}, BEFORE, AFTER)["b"]
    assert whole.kept == 2.25 and np.isnan(whole.pruned) and np.isnan(whole.outwards_pruned)


def test_largest_weights_in_common():
    masks = {"w": np.uint8([1] * 10 + [0])}
    before = {"w": np.array([9.0, -8, 1, 1, 1, 1, 1, 1, 1, 1, 100])}
    after = {"w": np.array([1.0, -9, 1, 1, 1, 1, 1, 1, 1, 8, 100])}
    assert top_overlap(masks, before, after)["w"] == (0.5, 0.2)
    assert top_overlap(masks, before, before)["w"] == (1.0, 0.2)


def test_equally_large_weights_count_by_their_index():
    masks, same = {"w": np.ones(5)}, {"w": np.ones(5)}
    late = {"w": np.array([1.0, 1, 1, 2, 2])}
    # The first two of five equal ones, against the last two.
    assert top_overlap(masks, same, late, top=0.4)["w"] == (0.0, 0.4)
    assert top_overlap(masks, same, same, top=0.1)["w"] == (1.0, 0.2)  # one at least


def test_nothing_kept_is_no_number():
    found = top_overlap({"w": np.zeros(2)}, {"w": np.ones(2)}, {"w": np.ones(2)})["w"]
    assert np.isnan(found).all()


def test_distribution_counts_far_values_at_the_ends():
    values = np.array([-100.0, -2.9, -0.1, 0.2, 2.9, 3.0, 50.0, 0.0])
    middles, shares = histogram(values, largest=3.0, bins=3)
    assert middles.tolist() == [-2.0, 0.0, 2.0]
    assert shares.tolist() == [0.25, 0.375, 0.375]
