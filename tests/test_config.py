import dataclasses

import pytest

from lth_tf.config import ExperimentConfig, run_name
from lth_tf.errors import UsageError


@pytest.mark.parametrize(
    "field, value, message",
    [
        ("prune_rate_fc", 1.0, "Expected prune_rate_fc to be a number in [0.0, 1.0). "),
        ("prune_rate_fc", -0.1, "Received: prune_rate_fc=-0.1."),
        ("prune_rate_fc", float("nan"), "Received: prune_rate_fc=nan."),
        ("iterations", 0, "Expected iterations to be a whole number at least 1. "),
        ("iterations", 1.5, "Received: iterations=1.5."),
        ("optimizer", "rmsprop", "one of adam, sgd, momentum. Received: optimizer='rmsprop'."),
        ("augment", 1, "Expected augment to be true or false. Received: augment=1."),
        ("rewind_iteration", 50_000, "Expected rewind_iteration below iterations=50000. "),
        ("test_interval", 150, "Expected test_interval to be a multiple of eval_interval=100. "),
    ],
)
def test_bad_value_is_refused_in_one_line(field, value, message):
    with pytest.raises(UsageError) as error:
        ExperimentConfig().replace(**{field: value})
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_defaults_are_the_papers_lenet():
    config = ExperimentConfig()
    assert (config.iterations, config.batch_size, config.learning_rate) == (50_000, 60, 1.2e-3)
    assert config.prune_rates() == {"conv": 0.0, "fc": 0.2, "output": 0.1}


def test_json_round_trip():
    config = ExperimentConfig(lr_drops=(20_000, 25_000), validation_size=100, augment=True)
    assert ExperimentConfig.from_json(config.to_json()) == config
    assert config.to_json()["lr_drops"] == [20_000, 25_000]


def test_unknown_json_field_is_refused():
    with pytest.raises(UsageError, match="Received: colour"):
        ExperimentConfig.from_json({"colour": "red"})


def test_run_name_holds_only_what_changed():
    base = ExperimentConfig()
    assert run_name(base, base) == "default"
    changed = dataclasses.replace(base, iterations=500, lr_drops=(100, 200), augment=True)
    assert run_name(changed, base) == "augment=True,iterations=500,lr_drops=100+200"


def test_run_name_leaves_out_seed_and_extent():
    base = ExperimentConfig()
    more = base.replace(seed=3, replicates=5, levels=30, reinits=3, random_masks=10)
    assert run_name(more, base) == "default"
