import keras
import numpy as np
import pytest
import tensorflow as tf

from lth_tf import pruning
from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.pruning import PruningContext, select

CONV2 = {
    "conv1_1/kernel": 1_728,
    "conv1_2/kernel": 36_864,
    "fc1/kernel": 4_194_304,
    "fc2/kernel": 65_536,
    "output/kernel": 2_560,
}


def ones(*shape):
    return np.ones(shape, np.uint8)


class TestSelect:
    def test_lowest_scores_go(self):
        scores = {"w": np.array([[0.5, 0.1], [0.3, 0.2]])}
        masks = select.lowest(scores, {"w": ones(2, 2)}, 2)
        assert masks["w"].tolist() == [[1, 0], [1, 0]]
        assert masks["w"].dtype == np.uint8

    def test_ties_go_by_index_and_exactly_as_many_as_asked(self):
        masks = select.lowest({"w": np.zeros(6)}, {"w": ones(6)}, 4)
        assert masks["w"].tolist() == [0, 0, 0, 0, 1, 1]

    def test_ties_across_layers_go_by_layer(self):
        scores = {"a": np.array([1.0, 0.0]), "b": np.array([0.0, 0.0])}
        masks = select.lowest(scores, {"a": ones(2), "b": ones(2)}, 2)
        assert {k: v.tolist() for k, v in masks.items()} == {"a": [1, 0], "b": [0, 1]}

    def test_what_is_pruned_stays_pruned_and_is_not_counted(self):
        mask = np.array([0, 1, 1, 1], np.uint8)
        masks = select.lowest({"w": np.array([9.0, 3.0, 1.0, 2.0])}, {"w": mask}, 1)
        assert masks["w"].tolist() == [0, 1, 0, 1]
        assert mask.tolist() == [0, 1, 1, 1]

    def test_layerwise_counts_are_exact(self):
        random = np.random.default_rng(0)
        masks = {"a": ones(10, 10), "b": ones(7)}
        scores = {k: random.random(v.shape) for k, v in masks.items()}
        expected = {"a": [80, 64, 51, 41, 33], "b": [6, 5, 4, 3, 2]}
        for level in range(5):
            masks = pruning.choose(scores, masks, {"a": 0.2, "b": 0.2}, "layerwise")
            assert {k: int(v.sum()) for k, v in masks.items()} == {
                k: v[level] for k, v in expected.items()
            }

    @pytest.mark.parametrize(
        "size, rate, rounds, pruned",
        [
            (35, 0.1, 1, 4),  # 3.5: halves to even, not down because 1 - (1 - 0.1) < 0.1
            (25, 0.1, 1, 2),
            (45, 0.3, 1, 14),  # 13.5
            (50, 0.1, 2, 10),  # 9.5 of 1 - 0.9 * 0.9
            (150, 0.1, 2, 28),  # 28.5
            (1000, 0.2, 3, 488),
            (np.int64(35), np.float64(0.1), 1, 4),
        ],
    )
    def test_one_place_counts(self, size, rate, rounds, pruned):
        assert select.count(size, select.rate_after(rounds, rate)) == pruned
        if rounds == 1:
            assert select.count(size, rate) == pruned
        rates = {"w": rate}
        plan = pruning.plan(
            {"w": int(size)}, rates, levels=rounds, scope="layerwise", cumulative=rounds > 1
        )
        assert plan[-1] == size - pruned
        weights = {"w": np.arange(1.0, size + 1)}
        context = PruningContext({"w": ones(size)}, weights, weights)
        rates = {"w": select.rate_after(rounds, rate)}
        masks = pruning.prune(context, rates, "magnitude", "layerwise", rounds)
        assert masks["w"].sum() == size - pruned

    def test_global_ranking_empties_the_weak_layer_first(self):
        scores = {"a": np.array([5.0, 6.0, 7.0, 8.0]), "b": np.array([1.0, 2.0, 9.0, 3.0])}
        masks = pruning.choose(scores, {"a": ones(4), "b": ones(4)}, {"a": 0.5, "b": 0.5}, "global")
        assert {k: v.tolist() for k, v in masks.items()} == {"a": [0, 1, 1, 1], "b": [0, 0, 1, 0]}

    def test_global_ranking_is_apart_for_each_rate(self):
        scores = {"a": np.arange(4.0), "b": np.arange(100.0, 104.0)}
        masks = pruning.choose(
            scores, {"a": ones(4), "b": ones(4)}, {"a": 0.25, "b": 0.5}, "global"
        )
        assert {k: v.tolist() for k, v in masks.items()} == {"a": [0, 1, 1, 1], "b": [0, 0, 1, 1]}

    def test_nan_score_is_refused(self):
        with pytest.raises(ValueError, match="Received: NaN"):
            select.lowest({"w": np.array([1.0, np.nan])}, {"w": ones(2)}, 1)

    def test_nan_of_a_pruned_weight_does_not_matter(self):
        mask = np.array([1, 0, 1], np.uint8)
        masks = select.lowest({"w": np.array([1.0, np.nan, 2.0])}, {"w": mask}, 1)
        assert masks["w"].tolist() == [0, 0, 1]

    def test_more_than_remain_is_refused(self):
        with pytest.raises(ValueError, match="Expected at most 2 weights to prune"):
            select.lowest({"w": np.zeros(2)}, {"w": ones(2)}, 3)


class TestPrune:
    groups = {"fc1/kernel": "fc", "output/kernel": "output", "shortcut/kernel": "unpruned"}

    def prune(self, level=1, **changes):
        config = ExperimentConfig().replace(**changes)
        trained = {
            "fc1/kernel": np.array([-4.0, 1.0, -2.0, 3.0, 5.0]),
            "output/kernel": np.arange(10.0) - 5,
            "shortcut/kernel": np.zeros(3),
        }
        masks = {path: ones(*value.shape) for path, value in trained.items()}
        rates = pruning.layer_rates(self.groups, config.prune_rates())
        context = PruningContext(masks, trained, trained, (config.seed, "prune", level))
        rounds = level if config.method.strategy == "oneshot" else 1
        rates = {path: select.rate_after(rounds, rate) for path, rate in rates.items()}
        return pruning.prune(context, rates, config.criterion, config.scope, level)

    def test_magnitude_by_group(self):
        masks = self.prune(prune_rate_fc=0.4)
        assert masks["fc1/kernel"].tolist() == [1, 0, 0, 1, 1]
        assert masks["output/kernel"].tolist() == [1, 1, 1, 1, 1, 0, 1, 1, 1, 1]
        assert masks["shortcut/kernel"].tolist() == [1, 1, 1]

    def test_one_shot_reaches_the_size_of_the_level_at_once(self):
        masks = self.prune(level=3, prune_rate_fc=0.2, strategy="oneshot")
        assert int(masks["fc1/kernel"].sum()) == 3  # 5 * 0.8 ** 3 = 2.56
        assert int(masks["output/kernel"].sum()) == 7  # 10 * 0.9 ** 3 = 7.29

    def test_random_criterion_follows_the_seed(self):
        one, same = (self.prune(criterion="random", prune_rate_fc=0.4) for _ in range(2))
        assert one["fc1/kernel"].tolist() == same["fc1/kernel"].tolist()
        seeds = {
            tuple(self.prune(criterion="random", prune_rate_fc=0.4, seed=seed)["fc1/kernel"])
            for seed in range(10)
        }
        assert len(seeds) > 3

    def test_a_layer_that_would_be_emptied_is_an_error(self):
        with pytest.raises(UsageError, match="would prune the last weight of 'fc1/kernel'"):
            self.prune(prune_rate_fc=0.95)

    def test_unknown_criterion_lists_the_known_ones(self):
        with pytest.raises(UsageError, match="magnitude.*random.* Received: criterion='love'"):
            self.prune(criterion="love")

    def test_a_function_is_a_criterion(self):
        def smallest(context):
            return {path: -np.abs(context.trained[path]) for path in context.masks}

        masks = self.prune(criterion=smallest, prune_rate_fc=0.4)
        assert masks["fc1/kernel"].tolist() == [0, 1, 1, 1, 0]

    @pytest.mark.parametrize("value", [{}, None])
    def test_a_criterion_must_score_every_weight(self, value):
        with pytest.raises(UsageError, match=r" of shape \(5,\) for 'fc1/kernel'.*: none"):
            self.prune(criterion=lambda context: value)

    def test_scores_may_be_lists_and_tensors(self):
        def smallest(context, kind):
            return {path: kind(-np.abs(context.trained[path])) for path in context.masks}

        for kind in (np.ndarray.tolist, tf.constant, keras.Variable, np.ma.masked_array):
            masks = self.prune(criterion=lambda c, k=kind: smallest(c, k), prune_rate_fc=0.4)
            assert masks["fc1/kernel"].tolist() == [0, 1, 1, 1, 0]

    @pytest.mark.parametrize("kind, name", [(complex, "complex128"), (str, "<U"), (object, "obj")])
    def test_scores_must_be_real_numbers(self, kind, name):
        with pytest.raises(UsageError, match=rf"Received: \(5,\) of {name}"):
            self.prune(
                criterion=lambda c: {p: c.trained[p].astype(kind) for p in c.masks},
            )


@pytest.mark.parametrize(
    "criterion, dtype, trained, origin, kept",
    [
        # Squares of half precision: 1e-8 is 0, 250,000 infinite.
        ("squared_magnitude", np.float16, [3e-4, 1e-4, 2e-4, 4e-4], [0] * 4, [1, 0, 0, 1]),
        ("squared_magnitude", np.float16, [600, 300, -400, -500], [0] * 4, [1, 0, 0, 1]),
        ("squared_magnitude", np.float32, [3e-30, 1e-30, 2e-30, 4e-30], [0] * 4, [1, 0, 0, 1]),
        ("movement", np.float16, [6e4, 5e4, 4e4, 6e4], [-6e4, -4e4, -4e4, -6e4], [1, 0, 0, 1]),
        ("magnitude", np.int8, [-128, 1, 2, 3], [0] * 4, [1, 0, 0, 1]),
        ("movement", np.uint8, [200, 1, 2, 30], [100, 250, 1, 1], [1, 1, 0, 0]),
        ("magnitude_increase", np.uint8, [200, 1, 2, 30], [100, 250, 1, 1], [1, 0, 0, 1]),
    ],
)
def test_scores_are_exact_for_narrow_types(criterion, dtype, trained, origin, kept):
    context = PruningContext(
        {"w": ones(4)}, {"w": np.array(trained, dtype)}, {"w": np.array(origin, dtype)}
    )
    masks = pruning.prune(context, {"w": 0.5}, criterion, "layerwise", 1)
    assert masks["w"].tolist() == kept


class TestLayerRates:
    groups = {"a/kernel": "conv", "block/fc/kernel": "fc", "out/kernel": "output"}

    def test_one_number(self):
        assert pruning.layer_rates(self.groups, 0.2) == dict.fromkeys(self.groups, 0.2)

    def test_the_name_nearest_to_the_weight_wins(self):
        rates = {"fc": 0.1, "block": 0.2, "fc/kernel": 0.9}
        with pytest.raises(UsageError, match="Received: 'fc/kernel'"):
            pruning.layer_rates(self.groups, rates)
        del rates["fc/kernel"]
        assert pruning.layer_rates(self.groups, rates)["block/fc/kernel"] == 0.2
        rates["block/fc"] = 0.3
        assert pruning.layer_rates(self.groups, rates) == {
            "a/kernel": 0.0,
            "block/fc/kernel": 0.3,
            "out/kernel": 0.0,
        }

    def test_function_of_the_path(self):
        rates = pruning.layer_rates(self.groups, lambda path: 0.5 if "fc" in path else 0)
        assert list(rates.values()) == [0.0, 0.5, 0.0]

    @pytest.mark.parametrize("rate", [1, -0.1, float("nan"), "0.2", None, True])
    def test_rates_out_of_bounds(self, rate):
        with pytest.raises(UsageError, match=r"Expected prune rates in \[0, 1\)"):
            pruning.layer_rates(self.groups, {"conv": rate})


def percentages(sizes, groups, **changes):
    config = ExperimentConfig().replace(**changes)
    rates = pruning.layer_rates(groups, config.prune_rates())
    totals = config.method.plan(sizes, rates, config)
    return [round(100 * left / totals[0], 2) for left in totals]


class TestPaperSequences:
    """Paper, Figures 5, 7 and 8: the sizes that appear there."""

    def test_lenet(self):
        sizes = {"fc1/kernel": 235_200, "fc2/kernel": 30_000, "output/kernel": 1_000}
        groups = {"fc1/kernel": "fc", "fc2/kernel": "fc", "output/kernel": "output"}
        expected = [100, 80.04, 64.06, 51.28, 41.05, 32.87, 26.32, 21.07, 16.88, 13.52, 10.83]
        expected += [8.68, 6.95, 5.57, 4.47, 3.58, 2.87, 2.31, 1.85, 1.49, 1.19]
        assert percentages(sizes, groups) == pytest.approx(expected, abs=0.01)

    @pytest.mark.parametrize(
        "network, rate, expected",
        [
            ("conv2", 0.1, {11: 8.81, 14: 4.57}),
            ("conv4", 0.1, {11: 11.06, 12: 9.18}),
            ("conv6", 0.15, {7: 26.61, 10: 15.29}),
        ],
    )
    def test_conv(self, network, rate, expected):
        sizes, groups = shape_of(network)
        found = percentages(sizes, groups, prune_rate_conv=rate)
        assert {level: found[level] for level in expected} == pytest.approx(expected, abs=0.01)

    @pytest.mark.parametrize(
        "network, expected",
        [
            ("resnet18", {4: 41.66, 6: 27.09, 7: 21.91, 10: 11.79}),
            ("vgg19", {12: 6.90, 15: 3.54, 19: 1.47}),
        ],
    )
    def test_global(self, network, expected):
        sizes, groups = shape_of(network)
        found = percentages(
            sizes,
            groups,
            prune_rate_conv=0.2,
            prune_rate_fc=0.0,
            prune_rate_output=0.0,
            scope="global",
        )
        assert {level: found[level] for level in expected} == pytest.approx(expected, abs=0.01)

    def test_one_shot_has_the_sizes_of_iterative_pruning(self):
        sizes, groups = shape_of("conv2")
        iterative = percentages(sizes, groups, prune_rate_conv=0.1)
        oneshot = percentages(sizes, groups, prune_rate_conv=0.1, strategy="oneshot")
        assert oneshot == pytest.approx(iterative, abs=0.01)

    def test_a_plan_that_empties_a_layer_is_refused_before_training(self):
        sizes, groups = {"fc1/kernel": 10, "output/kernel": 4}, None
        groups = {"fc1/kernel": "fc", "output/kernel": "output"}
        with pytest.raises(UsageError, match="level 4 would prune the last weight of 'fc1/kernel'"):
            percentages(sizes, groups, prune_rate_fc=0.6)


def shape_of(network):
    from lth_tf import networks
    from lth_tf.masking.model import get_masks

    model = networks.build(network, networks.image_shape(network), 10, seed=0)
    sizes = {path: mask.size for path, mask in get_masks(model).items()}
    return sizes, networks.groups(model)
