"""SET and RigL: one exchange written down, and what holds over a training."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

from lth_tf.masking.model import get_masks, mask_model, set_masks, set_weights, weight_variables
from lth_tf.masking.variables import stored_value
from lth_tf.methods.base import Ticket
from lth_tf.methods.rigl import RigL
from lth_tf.methods.set import SET
from lth_tf.runs.stage import Stage
from tests.methods import small
from tests.small_runs import Starts, run

WEIGHTS = np.float32([5.0, -0.1, 2.0, 0.0, 0.0, 0.0, 0.3, 0.0]).reshape(4, 2)
MASK = np.uint8([1, 1, 1, 0, 0, 0, 1, 0]).reshape(4, 2)
GRADIENT = np.float32([9.0, 9.0, 9.0, -3.0, 8.0, 1.0, 9.0, -2.0]).reshape(4, 2)

LEVEL_1 = Stage(1)


def exchanged(method, iteration, stage=LEVEL_1):
    """Returns weights, mask and momentum after an update, and whether the optimizer was asked."""
    model = keras.Sequential([keras.Input((4,)), layers.Dense(2, name="fc")])
    mask_model(model)
    config = small.CONFIG.replace(method=method, iterations=100)
    hooks = method.hooks(model, {"fc/kernel": 0.2}, config)
    set_masks(model, {"fc/kernel": MASK})
    set_weights(model, {"fc/kernel": WEIGHTS, "fc/bias": np.zeros(2, np.float32)})
    momentum = keras.Variable(np.ones((4, 2), np.float32))
    hooks.optimizer_slots = {"fc/kernel": [momentum]}
    hooks.begin(Ticket(stage, {}, {}))
    asked = tf.Variable(False)
    hooks.update(
        tf.constant(iteration), {"fc/kernel": tf.constant(GRADIENT)}, lambda _: asked.assign(True)
    )
    weights = stored_value(weight_variables(model)["fc/kernel"])
    return weights.ravel(), get_masks(model)["fc/kernel"].ravel(), momentum.numpy().ravel(), asked


# At iteration 25 of 75 the cosine is at 3/4: 0.67 of 4 weights times 3/4 are 2.
RIGL = RigL(exchange_interval=25, exchange_fraction=2 / 3)


def test_rigl_drops_the_smallest_and_grows_by_the_gradient():
    weights, mask, momentum, asked = exchanged(RIGL, 25)
    assert mask.tolist() == [1, 0, 1, 1, 1, 0, 0, 0]
    np.testing.assert_array_equal(weights, np.float32([5, 0, 2, 0, 0, 0, 0, 0]))
    assert momentum.tolist() == [1, 0, 1, 0, 0, 0, 0, 0]
    assert not asked.numpy()


@pytest.mark.parametrize("iteration", [0, 24, 75, 100])
def test_in_between_the_optimizer_updates(iteration):
    weights, mask, momentum, asked = exchanged(RIGL, iteration)
    assert asked.numpy() and mask.tolist() == MASK.ravel().tolist()
    np.testing.assert_array_equal(weights, WEIGHTS.ravel())
    assert momentum.tolist() == [1] * 8


@pytest.mark.parametrize("stage", [Stage(0), Stage(1, "reinit_0")])
def test_dense_networks_and_controls_exchange_nothing(stage):
    assert exchanged(RIGL, 25, stage)[3].numpy()


def test_set_grows_at_random():
    fields = {"exchange_interval": 1, "exchange_fraction": 0.5}
    grown = set()
    for iteration in range(1, 16):
        weights, mask, _, _ = exchanged(SET(**fields), iteration)
        assert mask.sum() == 4
        np.testing.assert_array_equal(weights != 0, (mask == 1) & (WEIGHTS.ravel() != 0))
        grown |= set(np.flatnonzero(mask & (MASK.ravel() == 0)))
        if len(grown) == 4:
            break
    assert grown == {3, 4, 5, 7}


@pytest.mark.parametrize("method", ["rigl", "set"])
def test_counts_are_kept_exactly_while_masks_change(method, tmp_path, monkeypatch):
    starts = Starts(monkeypatch).models
    config = small.config_of(method, weight_decay=1e-3, optimizer="momentum")
    run_dir = run(tmp_path / "run", config, small.data(), jit="off")
    before, _ = starts["level_01"]
    trained = run_dir.trained(Stage(1))
    changed = 0
    for path, mask in run_dir.mask(Stage(1)).items():
        assert mask.sum() == before[path].sum()
        assert (trained[path][mask == 0] == 0).all()
        changed += int((mask != before[path]).sum())
    assert changed > 20
    assert run_dir.summary(Stage(1))["early_stop_iteration"] >= 9
