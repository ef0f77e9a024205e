"""What is kept or pruned as one, written down."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers as L

from lth_tf import pruning
from lth_tf.config import GRANULARITIES, ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.masking.model import (
    get_masks,
    get_weights,
    load_model,
    mask_model,
    set_masks,
    strip_masks,
)
from lth_tf.methods.densities import AtDensities
from lth_tf.pruning import PruningContext, select
from lth_tf.pruning.granularities.block import blocks
from lth_tf.tickets import procedure


def dense(*units, **options):
    keras.utils.set_random_seed(0)
    stack = [L.Dense(n, name=f"fc{k}", **options) for k, n in enumerate(units[1:])]
    return mask_model(keras.Sequential([keras.Input((units[0],)), *stack]))


def residual():
    """Two convolutions whose channels are added, with a normalization in between."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((4, 4, 2))
    first = L.Conv2D(3, 1, name="first")(inputs)
    x = L.Conv2D(5, 1, use_bias=False, name="inner")(first)
    x = L.ReLU()(L.BatchNormalization(name="norm")(x))
    x = L.Add()([first, L.Conv2D(3, 1, name="second")(x)])
    x = L.DepthwiseConv2D(2, name="each")(x)
    x = L.Dense(2, name="output")(L.GlobalAveragePooling2D()(x))
    return mask_model(keras.Model(inputs, x))


def prune(model, granularity, rates, scope="layerwise", criterion="magnitude", weights=None):
    units = GRANULARITIES.get(granularity)().units(model)
    masks = get_masks(model)
    context = PruningContext(masks, get_weights(model) | (weights or {}), {}, units=units)
    rates = units.shared(dict.fromkeys(masks, 0.0) | rates)
    shapes = {path: mask.shape for path, mask in masks.items()}
    plan = pruning.plan(shapes, rates, levels=1, scope=scope, units=units)
    return pruning.prune(context, rates, criterion, scope, 1), plan


def test_a_unit_of_a_dense_layer_goes_with_its_bias():
    kernel = np.array([[1.0, -9.0, 2.0, 3.0], [1.0, 9.0, -2.0, 0.0]])
    model = dense(2, 4, 3)
    masks, plan = prune(model, "channel", {"fc0/kernel": 0.5}, weights={"fc0/kernel": kernel})
    assert masks["fc0/kernel"].tolist() == [[0, 1, 1, 0], [0, 1, 1, 0]]  # |w|: 2, 18, 4, 3
    assert masks["fc0/bias"].tolist() == [0, 1, 1, 0]
    assert masks["fc1/kernel"].all() and "fc1/bias" not in masks
    assert plan == [8 + 4 + 12, 4 + 2 + 12]


@pytest.mark.parametrize(
    ("criterion", "kept"), [("magnitude", [1, 0]), ("squared_magnitude", [0, 1])]
)
def test_l1_and_l2_norms(criterion, kept):
    kernel = np.array([[3.0, 5.0], [3.0, 0.0]])
    masks, _ = prune(
        dense(2, 2, 1), "channel", {"fc0/kernel": 0.5}, "layerwise", criterion,
        {"fc0/kernel": kernel},
    )  # fmt: skip
    assert masks["fc0/bias"].tolist() == kept


def test_channels_that_are_added_go_together_with_what_is_theirs():
    model = residual()
    first = np.zeros((1, 1, 2, 3)) + [0.1, 1.0, 1.0]
    second = np.zeros((1, 1, 5, 3)) + [0.5, 0.4, 1.0]
    each = np.zeros((2, 2, 3, 1)) + np.reshape([0.5, 0.2, 1.0], (3, 1))
    weights = {"first/kernel": first, "second/kernel": second, "each/kernel": each}
    # Means of 2, 5 and 4 weights: (0.2 + 2.5 + 2) / 11, (2 + 2 + 0.8) / 11, 1.
    masks, plan = prune(model, "channel", {"second/kernel": 0.34}, weights=weights)
    gone = {path: np.argwhere(mask == 0) for path, mask in masks.items() if not mask.all()}
    assert {path: len(found) for path, found in gone.items()} == {
        "first/kernel": 2,
        "first/bias": 1,
        "second/kernel": 5,
        "second/bias": 1,
        "each/kernel": 4,
        "each/bias": 1,
    }
    assert masks["each/bias"].tolist() == masks["first/bias"].tolist() == [0, 1, 1]
    assert sorted(masks) == sorted([*gone, "inner/kernel", "norm/gamma", "norm/beta",
                                    "output/kernel"])  # fmt: skip
    assert plan == [42 + 25 + 6, 28 + 25 + 6]  # 14 weights a channel


def test_a_skipped_layer_keeps_the_channels_that_it_makes():
    model = mask_model(strip_masks(residual()), skip=["second"])
    masks, _ = prune(model, "channel", {"first/kernel": 0.5, "inner/kernel": 0.4})
    assert {path for path, mask in masks.items() if not mask.all()} == {
        "inner/kernel", "norm/gamma", "norm/beta",
    }  # fmt: skip
    assert masks["norm/beta"].sum() == 3


def test_the_scale_of_normalization_decides():
    gamma = np.array([0.5, -0.1, 2.0, 0.2, -3.0])
    masks, _ = prune(
        residual(), "channel", {"inner/kernel": 0.4}, "layerwise", "bn_scale", {"norm/gamma": gamma}
    )
    assert masks["norm/beta"].tolist() == [1, 0, 1, 0, 1]
    assert masks["inner/kernel"].sum() == 9
    with pytest.raises(UsageError, match="none behind 'first/kernel'"):
        prune(residual(), "channel", {"first/kernel": 0.4}, "layerwise", "bn_scale")
    with pytest.raises(UsageError, match="Expected granularity='channel'"):
        prune(residual(), "weight", {"first/kernel": 0.4}, "layerwise", "bn_scale")


def test_all_layers_together_by_weights_rounded_to_channels():
    kernels = {"fc0/kernel": np.zeros((3, 4)) + [1.0, 2.0, 3.0, 9.0],
               "fc1/kernel": np.zeros((4, 2)) + [2.5, 9.0]}  # fmt: skip
    rates = {"fc0/kernel": 0.3, "fc1/kernel": 0.3}
    masks, plan = prune(dense(3, 4, 2, 1), "channel", rates, "global", weights=kernels)
    # 0.3 of 16 + 10 is 8 weights: channels of 4 (1.0), 4 (2.0), 5 (2.5) weights in that order.
    assert masks["fc0/bias"].tolist() == [0, 0, 1, 1]
    assert masks["fc1/bias"].tolist() == [1, 1]
    assert plan == [28, 20]


def test_rounding_to_units_of_unequal_size():
    scores = {"a": np.array([1.0, 3.0]), "b": np.array([2.0, 4.0])}
    ones = {name: np.ones(2, np.uint8) for name in "ab"}
    sizes = {"a": 4, "b": np.array([6, 7])}  # in order: 4, 6, 4, 7
    kept = {
        number: sum(mask.sum() for mask in select.lowest(scores, ones, number, sizes).values())
        for number in (1, 2, 3, 7, 12, 13, 21)
    }
    assert kept == {1: 4, 2: 4, 3: 3, 7: 2, 12: 2, 13: 1, 21: 0}


def test_inputs_outputs_and_barriers_have_no_channels():
    with pytest.raises(UsageError, match="model with channels that can go"):
        prune(dense(3, 2), "channel", {})
    inputs = keras.Input((6,))
    x = L.LayerNormalization()(L.Dense(4, name="before")(inputs))
    model = mask_model(keras.Model(inputs, L.Dense(2)(L.Dense(5, name="after")(x))))
    units = GRANULARITIES.get("channel")().units(model)
    rates = units.shared(dict.fromkeys(get_masks(model), 0.2))
    assert {path for path, rate in rates.items() if rate} == {"after/kernel", "after/bias"}


def test_heads_of_attention():
    keras.utils.set_random_seed(0)
    inputs = keras.Input((5, 6))
    x = L.MultiHeadAttention(3, 2, name="attention")(inputs, inputs)
    model = mask_model(keras.Model(inputs, L.Dense(2)(L.GlobalAveragePooling1D()(x))))
    model.get_layer("attention").value_dense.kernel.assign(
        np.zeros((6, 3, 2)) + np.reshape([9.0, 0.0, 9.0], (3, 1))
    )
    masks, plan = prune(model, "channel", {"attention/query/kernel": 0.33})
    gone = {path for path, mask in masks.items() if not mask.all()}
    assert gone == {
        f"attention/{name}"
        for name in (
            *("query/kernel", "query/bias", "key/kernel", "key/bias"),
            *("value/kernel", "value/bias", "attention_output/kernel"),
        )
    }
    assert masks["attention/value/bias"].tolist() == [[1, 1], [0, 0], [1, 1]]
    assert plan == [12 + 3 * 54, 12 + 2 * 54]


def test_masks_of_biases_and_normalizations_are_saved(tmp_path):
    model = residual()
    masks, _ = prune(model, "channel", {"first/kernel": 0.34, "inner/kernel": 0.4})
    set_masks(model, masks)
    model.save(tmp_path / "masked.keras")
    loaded = load_model(str(tmp_path / "masked.keras"))
    assert {path: mask.tolist() for path, mask in get_masks(loaded).items()} == {
        path: mask.tolist() for path, mask in masks.items()
    }
    x = np.random.default_rng(0).normal(size=(3, 4, 4, 2))
    np.testing.assert_array_equal(loaded(x), model(x))


def test_blocks_lie_along_the_inputs():
    assert blocks((5, 2), 4)[:, 0].tolist() == [0, 0, 0, 0, 1]
    assert blocks((2, 1, 6, 1), 4).ravel().tolist() == [0, 0, 0, 0, 1, 1, 2, 2, 2, 2, 3, 3]
    kernel = np.array([[1.0, 9.0], [1.0, 0.0], [1.0, 0.0], [2.0, 0.0], [1.4, 3.0]])
    rates = {"fc0/kernel": 0.5}
    masks, _ = prune(dense(5, 2, 1), "1x4", rates, weights={"fc0/kernel": kernel})
    # Means 1.25, 1.4, 2.25, 3 of 4, 1, 4, 1 weights: 4 + 1 of 10 go.
    assert masks["fc0/kernel"].T.tolist() == [[0, 0, 0, 0, 0], [1, 1, 1, 1, 1]]
    assert "fc0/bias" not in masks


def test_two_of_four():
    kernel = np.array([[4.0, 1.0], [3.0, 1.0], [2.0, 1.0], [1.0, 1.0]] * 2)
    kernel[4:, 0] = [1.0, 3.0, 2.0, 4.0]
    model, weights = dense(8, 2, 1), {"fc0/kernel": kernel}
    half, plan = prune(model, "2:4", {"fc0/kernel": 0.5}, weights=weights)
    assert half["fc0/kernel"].T.tolist() == [[1, 1, 0, 0, 0, 1, 0, 1], [0, 0, 1, 1, 0, 0, 1, 1]]
    assert plan == [18, 10]
    quarter, plan = prune(model, "2:4", {"fc0/kernel": 0.25}, weights=weights)
    assert quarter["fc0/kernel"].T.tolist() == [
        [1, 1, 1, 0, 0, 1, 1, 1],
        [0, 1, 1, 1, 0, 1, 1, 1],
    ]
    assert plan == [18, 14]
    set_masks(model, half)
    again, _ = prune(model, "2:4", {"fc0/kernel": 0.5}, weights=weights)
    assert again["fc0/kernel"].tolist() == half["fc0/kernel"].tolist()  # never below two


def test_what_is_left_over_of_the_fours_keeps_two():
    kernel = np.array([4.0, 3.0, 2.0, 1.0, 7.0, 1.0, 5.0]).reshape(7, 1)
    masks, _ = prune(dense(7, 1, 1), "2:4", {"fc0/kernel": 0.5}, weights={"fc0/kernel": kernel})
    assert masks["fc0/kernel"].ravel().tolist() == [1, 1, 0, 0, 1, 0, 1]


@pytest.mark.parametrize("granularity", GRANULARITIES.names())
@pytest.mark.parametrize("scope", ["layerwise", "global"])
def test_levels_of_every_granularity(granularity, scope):
    model = dense(40, 32, 24, 3)
    units = GRANULARITIES.get(granularity)().units(model)
    masks = get_masks(model)
    rates = units.shared(dict.fromkeys(masks, 0.2))
    plan = pruning.plan({p: m.shape for p, m in masks.items()}, rates, levels=3, scope=scope,
                        units=units)  # fmt: skip
    sizes = np.concatenate([np.ravel(units.sizes(name)) for name in units.fold(masks)])
    even = scope == "layerwise" and granularity != "1x16"  # which 40 inputs are no multiple of
    for level in range(1, 4):
        context = PruningContext(masks, get_weights(model), {}, units=units)
        after = pruning.prune(context, rates, "magnitude", scope, level)
        assert all((after[path] <= mask).all() for path, mask in masks.items())
        left = sum(int(mask.sum()) for mask in after.values())
        assert abs(left - plan[level]) <= (0 if even else sizes.max())
        random = units.as_many(get_weights(model), masks, after)
        assert {path: mask.sum() for path, mask in units.fold(random).items()} == {
            path: mask.sum() for path, mask in units.fold(after).items()
        }
        masks = after


def test_methods_that_choose_single_weights_refuse_channels():
    with pytest.raises(UsageError, match="Expected granularity=weight: .* Received: granularity"):
        ExperimentConfig(method="rigl", granularity="channel")
    with pytest.raises(UsageError, match="Expected a granularity out of 1x16, 1x4, 2:4, channel"):
        ExperimentConfig(granularity="chanel")


@dataclasses.dataclass(frozen=True)
class Halves(AtDensities):
    """Of a user: knows of single weights alone."""

    def pools(self, level, shapes, rates, config):
        return {path: ([path], 5 * level) for path in shapes}


def test_methods_that_plan_single_weights_need_not_know_of_units():
    config = ExperimentConfig(method=Halves(final_density=(0.5, 0.2)))
    assert procedure.plan(config, {"a": np.ones((4, 5))}, {"a": 1.0}) == [20, 5, 10]
