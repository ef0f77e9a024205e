"""How many weights each layer keeps."""

import numpy as np
import pytest

from lth_tf import pruning
from lth_tf.config import SCOPES, ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.pruning import densities

LENET = {"fc1/kernel": (784, 300), "fc2/kernel": (300, 100), "output/kernel": (100, 10)}
RATES = {"fc1/kernel": 0.2, "fc2/kernel": 0.2, "output/kernel": 0.1}


@pytest.mark.parametrize(
    "density, expected", [(0.1, (0.0796, 0.2302, 1.0)), (0.05, (0.0385, 0.1113, 0.9185))]
)
def test_erk_on_lenet(density, expected):
    found = densities.erk(LENET, density)
    assert tuple(round(value, 4) for value in found.values()) == expected


def test_erk_of_a_convolution_counts_its_kernel():
    found = densities.erk({"conv": (3, 3, 4, 4), "fc": (16, 9)}, 0.5)
    # 14 / 144 and 25 / 144, in these proportions 288 * 0.5 weights.
    assert found == pytest.approx({"conv": 14 / 39, "fc": 25 / 39})


def test_smart_ratio_falls_quadratically():
    found = densities.smart_ratio({"a": 1000, "b": 1000, "c": 1000, "output": 100}, 0.1)
    # 20 : 12 : 6 of 310 - 30 weights.
    assert found == pytest.approx(
        {"a": 0.28 * 20 / 38, "b": 0.28 * 12 / 38, "c": 0.28 * 6 / 38} | {"output": 0.3}
    )


def test_smart_ratio_gives_the_excess_to_the_others():
    found = densities.smart_ratio({"a": 10, "b": 1000, "output": 10}, 0.6)
    assert found == pytest.approx({"a": 1.0, "b": 0.599, "output": 0.3})
    assert densities.smart_ratio({"a": 10, "output": 90}, 0.5)["output"] == pytest.approx(4 / 9)


@pytest.mark.parametrize("scope", SCOPES.names())
def test_masks_keep_what_the_plan_says(scope):
    random = np.random.default_rng(0)
    masks = {path: np.ones(shape, np.uint8) for path, shape in LENET.items()}
    scores = {path: random.random(shape) for path, shape in LENET.items()}
    plan = pruning.plan(LENET, RATES, levels=4, scope=scope)
    assert plan[0] == 266_200
    for level in range(1, 5):
        before = masks
        masks = pruning.choose(scores, masks, RATES, scope)
        assert sum(int(mask.sum()) for mask in masks.values()) == plan[level]
        assert all((masks[path] <= before[path]).all() for path in masks)


@pytest.mark.parametrize(
    "scope, kept",
    [
        ("layerwise", (11_760, 1_500, 50)),
        ("uniform", (11_760, 1_500, 50)),
        ("erk", (9_051, 3_340, 919)),
        ("smart_ratio", (12_230, 780, 300)),
    ],
)
def test_counts_at_a_twentieth(scope, kept):
    masks = {path: np.ones(shape, np.uint8) for path, shape in LENET.items()}
    scores = {path: np.zeros(shape) for path, shape in LENET.items()}
    masks = pruning.choose(scores, masks, dict.fromkeys(LENET, 0.95), scope)
    assert tuple(int(mask.sum()) for mask in masks.values()) == kept


def test_an_unknown_scope_lists_the_known_ones():
    with pytest.raises(UsageError, match="erk, global, layerwise, smart_ratio, uniform. Received"):
        ExperimentConfig(scope="all")
