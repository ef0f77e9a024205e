"""What masking cannot reach is found, and the weight is named."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.errors import RunError, UsageError
from lth_tf.masking import checks
from lth_tf.masking import model as m
from lth_tf.masking.variables import store, stored_value
from tests.masking.masked_models import masked, sequential

X = np.random.default_rng(0).random((4, 6)).astype(np.float32)


class Kept(L.Layer):
    """Reads a backend variable that it took out of Keras's when it was built."""

    def build(self, shape):
        self.w = self.add_weight(shape=(shape[-1], 3), name="w")
        self.fast = self.w.value

    def call(self, x, training=False):
        return tf.matmul(x, self.fast)


class KeptInTraining(Kept):
    def call(self, x, training=False):
        return tf.matmul(x, self.fast if training else self.w)


@pytest.mark.parametrize("kind", [Kept, KeptInTraining])
def test_read_that_goes_round_the_mask(kind):
    model = masked(sequential(L.Dense(6, name="d"), kind(name="own"), L.Dropout(0.5)))
    before = [stored_value(v) for v in model.variables]
    assert checks.unmasked_reads(model, X) == ["own/w"]
    with pytest.raises(UsageError, match="reads 'own/w' round its mask") as error:
        checks.check_reads(model, X)
    assert "\n" not in str(error.value)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(stored_value(variable), value)


def test_models_that_read_as_they_should():
    model = masked(
        sequential(L.Dense(6, name="d"), L.BatchNormalization(), L.GaussianNoise(1.0), L.Dense(2))
    )
    before = [stored_value(v) for v in model.variables]
    checks.check_reads(model, X)
    for variable, value in zip(model.variables, before, strict=True):
        np.testing.assert_array_equal(stored_value(variable), value)


def test_pruned_weights_that_are_not_zero():
    model = masked(sequential(L.Dense(6, name="d"), L.Dense(2, name="e")))
    checks.check_pruned_are_zero(model)
    mask = m.get_masks(model)["e/kernel"]
    store(m.weight_variables(model)["e/kernel"], np.ones(mask.shape))
    assert checks.pruned_not_zero(model) == {"e/kernel": int((mask == 0).sum())}
    with pytest.raises(RunError, match="Expected pruned weights of 'e/kernel' to be 0"):
        checks.check_pruned_are_zero(model)
    m.zero_pruned(model)
    checks.check_pruned_are_zero(model)


def test_a_backend_variable_changed_by_hand():
    model = masked(sequential(L.Dense(6, name="d")))
    model.get_layer("d").kernel.value.assign_add(np.ones((6, 6), np.float32))
    assert list(checks.pruned_not_zero(model)) == ["d/kernel"]
    assert checks.unmasked_reads(model, X) == []


@pytest.mark.parametrize("check", [checks.unmasked_reads, checks.pruned_not_zero])
def test_masks_are_needed(check):
    model = keras.Sequential([keras.Input((6,)), L.Dense(2)])
    with pytest.raises(UsageError, match="Expected a masked model"):
        check(*([model, X] if check is checks.unmasked_reads else [model]))
