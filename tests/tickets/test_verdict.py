"""The one rule for verdicts, on numbers written down here."""

import math

import numpy as np
import pytest

from lth_tf.runs.history import Correct
from lth_tf.tickets.comparing import Comparison, number_of_labels, over_seeds, paired, unpaired
from lth_tf.tickets.verdict import Seed, Training, judge, judge_runs
from lth_tf.tickets.verdict_text import told

LABELS = 1_000


def training(level, accuracy, iteration=500, *, train=0.99, first=0, start=0.1, correct=True):
    """A training of 1,000 iterations that predicts the first labels of 1,000."""
    right = np.arange(LABELS) < round(accuracy * LABELS)
    summary = {
        "level": level,
        "density": 0.5**level,
        "iterations": 1_000,
        "early_stop_iteration": iteration,
        "early_stop_test_accuracy": accuracy,
        "final_test_accuracy": accuracy,
        "final_train_accuracy": train,
    }
    validation = [start, accuracy]
    return Training(summary, first, validation, Correct(right, right, 0.1) if correct else None)


def seed(dense, *tickets, **options):
    return Seed(dense, {t.summary["level"]: t for t in tickets}, **options)


def test_label_by_label_finds_what_two_accuracies_do_not():
    dense = np.arange(LABELS) < 950
    ticket = np.arange(LABELS) < 960  # right wherever the dense one is, and on ten more
    one_by_one, two = paired(ticket, dense), unpaired(0.96, 0.95, LABELS)
    assert one_by_one.difference == pytest.approx(0.01)
    assert one_by_one.error == pytest.approx((1 + 1.96 * math.sqrt(10)) / 1_000)
    assert two.difference == pytest.approx(0.01)
    assert two.error == pytest.approx(0.001 + 1.96 * math.sqrt((0.96 * 0.04 + 0.95 * 0.05) / 1_000))
    assert (one_by_one.word, two.word) == ("better", "as good")


# Two-sided exact binomial tests say: 5 of 5 has p = 0.06, 6 of 6 p = 0.03, 9 of 10 p = 0.02,
# 8 of 10 p = 0.11.
@pytest.mark.parametrize(
    "ours, theirs, word",
    [(5, 0, "as good"), (6, 0, "better"), (9, 1, "better"), (8, 2, "as good")]
    + [(0, 5, "as good"), (0, 6, "worse"), (1, 9, "worse"), (0, 0, "as good")],
)
def test_few_labels_decide_as_the_exact_test_does(ours, theirs, word):
    network, dense = np.ones(100, bool), np.ones(100, bool)
    dense[:ours] = False
    network[50 : 50 + theirs] = False
    assert paired(network, dense).word == word


def test_a_difference_inside_the_sampling_error_wins_but_is_never_better():
    verdict = judge([seed(training(0, 0.950), training(1, 0.953), training(2, 0.947))])
    assert [level.comparison.word for level in verdict.levels] == ["as good", "as good"]
    assert verdict.smallest.level == 2 and verdict.smallest_in_paper.level == 1
    assert told(verdict).splitlines() == [
        "Smallest winning ticket: level 2, 25.00 % of the weights: 94.70 % at iteration 500; the "
        "dense network has 95.00 % at iteration 500.",
        "As good: -0.30 points, sampling error 0.44 points (1,000 labels, one by one; one seed).",
        "By the paper's definition, without a tolerance: level 1, 50.00 %.",
    ]


def test_slower_or_worse_tickets_do_not_win():
    verdict = judge([seed(training(0, 0.95), training(1, 0.99, 501), training(2, 0.90))])
    assert [level.wins for level in verdict.levels] == [False, False]
    assert [level.comparison.word for level in verdict.levels] == ["better", "worse"]
    assert verdict.smallest is None
    assert told(verdict) == (
        "No winning ticket: no level is as good as the dense network, 95.00 % at iteration 500, "
        "within the sampling error and as fast."
    )


def test_a_tolerance_that_is_given_replaces_the_error():
    tickets = training(1, 0.945), training(2, 0.93)
    seeds = [seed(training(0, 0.95), *tickets)]
    smallest = [judge(seeds, tolerance).smallest for tolerance in (None, 0.0, 0.01, 0.03)]
    assert [found and found.level for found in smallest] == [1, None, 1, 2]
    assert "within tolerance 0.00 points and as fast" in told(judge(seeds, 0.0))


@pytest.mark.parametrize(
    "dense, reason",
    [
        (training(0, 0.11, train=0.12, start=0.05), "at chance: 11.00 %, and one answer for all "),
        (training(0, 0.09, start=0.1), "ended where it began: 9.00 % on the validation data, 10.0"),
        (training(0, 0.20, iteration=0), "validation loss was never below that before training"),
        (training(0, 0.328, train=0.33), "learned 33.00 % of its training examples, a ticket 97.0"),
        (None, "the dense network, level 0, is not trained"),
    ],
)
def test_a_dense_network_that_did_not_learn_is_nothing_to_compare_with(dense, reason):
    verdict = judge([seed(dense, training(1, 0.947, train=0.97))])
    assert reason in verdict.nothing and verdict.smallest is None
    assert told(verdict) == f"Nothing to compare with: {verdict.nothing}."


def test_of_old_runs_chance_follows_from_the_classes():
    dense = training(0, 0.115, correct=False, start=0.05, train=0.2)
    ticket = training(1, 0.12, correct=False, train=0.2)
    assert "at chance" in judge([seed(dense, ticket, labels=1_000, classes=10)]).nothing
    assert not judge([seed(dense, ticket, labels=1_000, classes=100)]).nothing
    assert judge([seed(dense, ticket)]).levels[0].comparison.basis == "unknown"


def test_early_stop_at_the_ends_is_marked():
    late = training(1, 0.95, 1_000)
    assert late.edge == "last" and training(1, 0.95).edge == ""
    assert training(1, 0.95, 100, first=100).edge == "first"
    words = told(judge([seed(training(0, 0.95, 1_000), late)]))
    assert "The dense network stopped early at the last evaluation: still learning" in words
    assert "The smallest one stopped early at the last evaluation: still learning" in words


def test_several_seeds_are_mean_smallest_and_largest():
    seeds = [
        seed(training(0, 0.950, 400), training(1, 0.954, 500)),
        seed(training(0, 0.940, 600), training(1, 0.960, 400)),
    ]
    verdict = judge(seeds)
    comparison = verdict.levels[0].comparison
    assert (comparison.seeds, verdict.seeds) == (2, 2)
    assert comparison.difference == pytest.approx(0.012)
    assert (comparison.smallest, comparison.largest) == pytest.approx((0.004, 0.020))
    assert (verdict.dense_iteration, verdict.levels[0].early_stop_iteration) == (500, 450)
    assert "Better: +1.20 points (mean of 2 seeds, from +0.40 points to +2.00 points)" in told(
        verdict
    )


def test_better_is_what_is_better_with_every_seed():
    both = [Comparison(0.05, 0.01, "paired", 100), Comparison(-0.001, 0.01, "paired", 100)]
    assert over_seeds(both).word == "as good"
    assert over_seeds(both).difference == pytest.approx(0.0245)


def test_seeds_that_are_all_below_are_worse():
    below = [Comparison(-0.001, 0.01, "paired", 100), Comparison(-0.002, 0.01, "paired", 100)]
    assert over_seeds(below).word == "worse"
    assert over_seeds(below).within(0.01).word == "as good"
    assert over_seeds(below[:1]).word == "as good"


def test_a_seed_without_a_dense_network_that_learned_is_left_out():
    good = seed(training(0, 0.95), training(1, 0.96))
    bad = seed(training(0, 0.09), training(1, 0.96))
    assert judge([good, bad]) == judge([good])
    assert judge([good, bad]).seeds == 1


def test_smaller_errors_are_better_and_their_noise_is_unknown():
    def of(level, value):
        found = training(level, value, correct=False, start=2.0)
        found.summary.update(metric="mae", mode="min")
        return found

    verdict = judge([seed(of(0, 0.30), of(1, 0.25), of(2, 0.35))])
    assert [level.comparison.word for level in verdict.levels] == ["as good", "worse"]
    assert verdict.levels[0].comparison.difference == pytest.approx(0.05)
    assert verdict.smallest.level == 1
    assert "As good: +0.05, sampling error unknown." in told(verdict)


def test_a_metric_that_is_undefined_does_not_win():
    undefined = training(1, 0.5, correct=False)
    undefined.summary["early_stop_test_accuracy"] = math.nan
    verdict = judge([seed(training(0, 0.95), undefined, labels=1_000)])
    assert verdict.levels[0].comparison.word == "worse" and verdict.smallest is None


def test_the_number_of_labels_is_read_off_accuracies():
    assert number_of_labels([9_770 / 10_000, 9_807 / 10_000, 9_768 / 10_000]) == 10_000
    assert number_of_labels([0.5, 0.25]) == 4  # a divisor: more cautious
    assert number_of_labels([float(np.float32(0.9733333))]) is None
    assert number_of_labels([0.0, 1.0]) is None


def test_a_run_is_judged_label_by_label(finished_run):
    verdict = judge_runs([finished_run], tolerance=None)
    control = judge_runs([finished_run], "reinit_0")
    assert [level.level for level in verdict.levels] == [1, 2]
    assert [level.level for level in control.levels] == [0, 1, 2]
    for level in verdict.levels:
        assert level.comparison.basis == "paired" and level.comparison.labels == 360
        assert level.value - verdict.dense_value == pytest.approx(level.comparison.difference)
