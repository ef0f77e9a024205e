import keras
import numpy as np
import pytest

import lth_tf
from lth_tf.config import ExperimentConfig, run_name
from lth_tf.errors import UsageError
from lth_tf.methods.densities import rates_to


def test_rates_keep_their_shares():
    sizes, rates = {"fc": 9000, "output": 1000}, {"fc": 0.2, "output": 0.1}
    found = rates_to(sizes, rates, 0.1, levels=4)
    kept = sum(size * (1 - found[path]) ** 4 for path, size in sizes.items())
    assert kept == pytest.approx(1000, abs=1e-3)
    logs = [np.log(1 - found[path]) / np.log(1 - rates[path]) for path in sizes]
    assert logs[0] == pytest.approx(logs[1])


def test_the_last_level_has_the_density(digits, tmp_path, tiny):
    config = tiny.replace(iterations=2, eval_interval=2, test_interval=0, target_density=0.1)
    run = lth_tf.find_tickets(config, digits, tmp_path / "run")
    densities = [run.summary(stage)["density"] for stage in run.finished()]
    assert densities == pytest.approx([1.0, 0.1**0.5, 0.1], abs=2e-3)


def test_in_fit(tmp_path):
    model = keras.Sequential([keras.Input((20,)), keras.layers.Dense(50), keras.layers.Dense(1)])
    model.compile("adam", "mse")
    inputs = np.random.default_rng(0).normal(size=(64, 20)).astype("float32")
    tickets = lth_tf.TicketCallback(
        tmp_path / "run", epochs_per_level=1, levels=2, target_density=0.2, metric="loss", verbose=0
    )
    model.fit(
        inputs, inputs[:, :1], validation_split=0.25, epochs=3, callbacks=[tickets], verbose=0
    )
    last = tickets.run_dir.finished()[-1]
    assert tickets.run_dir.summary(last)["remaining"] == 210


def test_the_levels_are_part_of_such_a_run():
    base = ExperimentConfig()
    assert run_name(base.replace(levels=3), base) == "default"
    named = run_name(base.replace(levels=3, target_density=0.1), base)
    assert named == "levels=3,target_density=0.1"


@pytest.mark.parametrize("changes", [{"levels": 0}, {"method": "gradual"}, {"target_density": 1.0}])
def test_what_cannot_be_reached_is_refused(changes):
    with pytest.raises(UsageError, match="target_density"):
        ExperimentConfig().replace(**{"target_density": 0.1, **changes})
