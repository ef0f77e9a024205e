"""What masks alone tell, on masks that can be counted by hand."""

import numpy as np
import pytest

from lth_tf.analysis.base import ALL
from lth_tf.analysis.connectivity import Connectivity, expected_deviation, incoming, outgoing
from lth_tf.analysis.densities import layer_sizes
from lth_tf.analysis.overlap import overlaps

ONE = {
    "a": np.uint8([1, 1, 1, 1, 0, 0, 0, 0, 0, 0]),
    "b": np.uint8([[1, 1], [0, 0]]),
}
OTHER = {
    "a": np.uint8([1, 0, 0, 0, 1, 0, 0, 0, 0, 0]),
    "b": np.uint8([[1, 1], [1, 0]]),
}


def test_overlap_is_what_both_keep_of_what_either_keeps():
    found = overlaps(ONE, OTHER)
    # a: 1 of 5. Random masks: 4 * 2 / 10 = 0.8 in common, of 6 - 0.8.
    assert found["a"] == pytest.approx((1 / 5, 0.8 / 5.2))
    # b: 2 of 3; random 2 * 3 / 4 = 1.5, of 5 - 1.5.
    assert found["b"] == pytest.approx((2 / 3, 1.5 / 3.5))
    # Together 3 of 8; random 0.8 + 1.5, of 11 - 2.3.
    assert found[ALL] == pytest.approx((3 / 8, 2.3 / 8.7))


def test_overlap_of_layers_kept_and_emptied_whole_is_chance():
    """Densities that differ from layer to layer alone are no agreement."""
    masks = {"a": np.ones(3, np.uint8), "b": np.zeros(7, np.uint8)}
    assert overlaps(masks, masks)[ALL] == (1.0, 1.0)
    assert overlaps(masks, masks)["b"] == (1.0, 1.0)


def test_overlap_by_chance_is_that_of_random_masks():
    random = np.random.default_rng(0)
    one, other = ({"w": np.uint8(random.permutation(2000) < k)} for k in (600, 200))
    observed, chance = overlaps(one, other)["w"]
    assert chance == pytest.approx(60 / 740) and abs(observed - chance) < 0.02


def test_overlap_of_other_networks_is_refused():
    with pytest.raises(ValueError, match="Expected shape"):
        overlaps(ONE, {**OTHER, "b": np.ones((2, 3), np.uint8)})


def test_layers():
    assert layer_sizes(ONE) == {"a": (4, 10), "b": (2, 4)}


class Channels:
    """51 of 100 channels of 300 inputs."""

    def __init__(self):
        kept = (np.arange(100) < 51).astype(np.uint8)
        self.masks = {"a/kernel": np.broadcast_to(kept, (300, 100)), "a/bias": kept}

    def row(self, layer, **numbers):
        return {"layer": layer, **numbers}


def test_biases_that_are_masked_with_channels_connect_nothing():
    rows = list(Connectivity().of_level(Channels()))
    assert {row["layer"] for row in rows} == {"a/kernel"} and len(rows) == 22


def test_units_that_all_keep_as_many_are_even():
    rows = list(Connectivity().of_level(Channels()))
    # Not 2e-16, which is what rounding makes of 300 times 0.51.
    assert {row["uneven"] for row in rows if row["side"] == "outgoing"} == {0.0}


def test_connections_of_a_dense_layer():
    mask = np.uint8([[1, 0, 0], [1, 1, 0]])  # two inputs, three units
    assert incoming(mask).tolist() == [1.0, 0.5, 0.0]
    assert outgoing(mask) == pytest.approx([1 / 3, 2 / 3])


def test_connections_of_a_convolution_are_those_of_channels():
    mask = np.zeros((3, 3, 2, 4), np.uint8)
    mask[:, :, 0, 1] = 1  # the first input channel goes to the second filter, whole
    assert incoming(mask).tolist() == [0.0, 0.5, 0.0, 0.0]
    assert outgoing(mask).tolist() == [0.25, 0.0]


def test_deviation_by_chance_is_that_of_random_masks():
    """Of 4 weights 2 are kept, 2 a unit: 1 of 6 masks each has 2 or 0 in a unit, else 1."""
    mask = np.uint8([[1, 0], [1, 0]])
    assert expected_deviation(mask, 2) ** 2 == pytest.approx(2 / 6 * 0.25)
    assert expected_deviation(mask, 1) == 0.0
    random = np.random.default_rng(0)
    masks = [np.uint8(random.permutation(600) < 150).reshape(20, 30) for _ in range(200)]
    observed = np.mean([incoming(m).var() for m in masks])
    assert observed == pytest.approx(expected_deviation(masks[0], 30) ** 2, rel=0.05)
