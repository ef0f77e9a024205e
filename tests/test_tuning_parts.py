import dataclasses

import keras_tuner
import pytest

from experiments import conv2, lenet, vgg19
from lth_tf.errors import UsageError
from lth_tf.tuning.objective import judge, out_of_patience
from lth_tf.tuning.oracles import make_oracle, saved_trials
from lth_tf.tuning.space import search_space

# KerasTuner 1.4.8 calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]


def level(number, density, validation, test=0.0):
    return {
        "level": number,
        "density": density,
        "early_stop_validation_accuracy": validation,
        "early_stop_test_accuracy": test,
    }


@pytest.mark.parametrize(
    "config, groups, expected",
    [
        (
            lenet.CONFIG,
            {"fc", "output"},
            {
                "prune_rate_fc": (0.1, 0.4, None, 0.2),
                "prune_rate_output": (0.05, 0.2, None, 0.1),
                "learning_rate": (0.00012, 0.0036, None, 0.0012),
                "warmup_iterations": (0, 12_500, 1250, 0),
                "rewind_iteration": (0, 5000, 500, 0),
            },
        ),
        (
            conv2.CONFIG,
            {"conv", "fc", "output"},
            {
                "prune_rate_conv": (0.05, 0.2, None, 0.1),
                "prune_rate_fc": (0.1, 0.4, None, 0.2),
                "prune_rate_output": (0.05, 0.2, None, 0.1),
                "learning_rate": (2e-5, 6e-4, None, 2e-4),
                "warmup_iterations": (0, 5000, 500, 0),
                "rewind_iteration": (0, 2000, 200, 0),
            },
        ),
        (
            dataclasses.replace(vgg19.CONFIG, warmup_iterations=60_000),
            {"conv", "output"},
            {
                "prune_rate_conv": (0.1, 0.4, None, 0.2),
                "learning_rate": (0.01, 0.3, None, 0.1),
                "warmup_iterations": (0, 60_000, 2812, 60_000),
                "rewind_iteration": (0, 11_248, 1124, 0),
            },
        ),
    ],
)
def test_search_space_is_around_the_values_of_a_network(config, groups, expected):
    space = search_space(config, groups)
    assert {e.name: (e.min_value, e.max_value, e.step, e.default) for e in space.space} == expected


def test_search_space_of_some_fields():
    names = ("learning_rate", "prune_rate_fc")
    space = search_space(lenet.CONFIG, {"fc", "output"}, names)
    assert [entry.name for entry in space.space] == ["prune_rate_fc", "learning_rate"]
    with pytest.raises(UsageError, match="Received: prune_rate_conv, momentum"):
        search_space(lenet.CONFIG, {"fc", "output"}, ["prune_rate_conv", "momentum"])


def test_objective_is_the_density_of_the_smallest_level_within_the_tolerance():
    levels = [level(0, 1.0, 0.97), level(1, 0.8, 0.95), level(2, 0.6, 0.96), level(3, 0.5, 0.94)]
    outcome = judge(levels, reference=0.97, tolerance=0.01)
    # Level 2 is at the bar itself.
    assert dataclasses.astuple(outcome) == (0.6, True, 2, 0.6, 0.96)


def test_objective_without_such_a_level_is_what_the_best_one_lacks():
    levels = [level(0, 1.0, 0.90), level(1, 0.8, 0.93), level(2, 0.6, 0.91)]
    outcome = judge(levels, reference=0.97, tolerance=0.01)
    assert outcome.objective == pytest.approx(1.03)
    assert (outcome.accurate, outcome.level, outcome.accuracy) == (False, 1, 0.93)


def test_objective_of_a_trial_that_diverged_at_once():
    outcome = judge([], reference=0.97, tolerance=0.01)
    assert outcome.objective == pytest.approx(1.96)
    assert (outcome.accurate, outcome.level) == (False, None)


def test_objective_is_blind_to_test_accuracy():
    levels = [level(0, 1.0, 0.97, test=0.1), level(1, 0.8, 0.96, test=0.99)]
    other = [level(0, 1.0, 0.97, test=0.99), level(1, 0.8, 0.96, test=0.1)]
    assert judge(levels, 0.97, 0.0) == judge(other, 0.97, 0.0)
    assert judge(levels, 0.97, 0.0).level == 0


@pytest.mark.parametrize(
    "accuracies, patience, enough",
    [
        ([0.97, 0.90, 0.91, 0.92], 3, True),
        ([0.97, 0.90, 0.96, 0.92], 3, False),
        ([0.97, 0.96, 0.91, 0.92], 3, False),
        ([0.97, 0.90, 0.91, 0.92], 0, False),
        ([0.97, 0.90, 0.91], 3, False),
        # Below the bar, but pruning has not harmed.
        ([0.90, 0.90, 0.91, 0.90], 3, False),
        ([0.90, 0.89, 0.88, 0.87], 3, True),
        ([], 3, False),
    ],
)
def test_patience(accuracies, patience, enough):
    levels = [level(n, 0.8**n, accuracy) for n, accuracy in enumerate(accuracies)]
    assert out_of_patience(levels, 0.97, 0.01, patience) is enough


@pytest.mark.parametrize("algorithm", ["bayesian", "random"])
def test_values_do_not_depend_on_interruptions(algorithm, tmp_path):
    space = search_space(lenet.CONFIG, {"fc"}, ["prune_rate_fc", "rewind_iteration"])

    def oracle(file):
        made = make_oracle(algorithm, space, max_trials=6, seed=7, file=tmp_path / file)
        made.reload()
        return made

    def run(made):
        trial = made.create_trial("tuner0")
        made.update_trial(trial.trial_id, {"objective": trial.hyperparameters["prune_rate_fc"]})
        trial.status = "COMPLETED"
        made.end_trial(trial)

    whole = oracle("whole.json")
    for _ in range(6):
        run(whole)
    for _ in range(6):
        interrupted = oracle("parts.json")
        interrupted.create_trial("tuner0")
        run(oracle("parts.json"))
    tried, again = (
        [trial.hyperparameters.values for trial in saved_trials(tmp_path / file)]
        for file in ("whole.json", "parts.json")
    )
    assert tried == again
    assert len({tuple(values.items()) for values in tried}) == 6
    assert tried[0] == {"prune_rate_fc": 0.2, "rewind_iteration": 0}
    assert all(
        float(f"{values['prune_rate_fc']:.3g}") == values["prune_rate_fc"] for values in tried
    )


def test_space_that_is_exhausted_ends_the_search(tmp_path):
    space = keras_tuner.HyperParameters()
    space.Int("rewind_iteration", 0, 2, default=1)
    made = make_oracle("random", space, max_trials=9, seed=0, file=tmp_path / "oracle.json")
    found = []
    while (trial := made.create_trial(f"tuner{len(found)}")).status == "RUNNING":
        found.append(trial.hyperparameters["rewind_iteration"])
    assert found[0] == 1
    assert sorted(found) == [0, 1, 2]
