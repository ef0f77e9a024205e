"""Soft masks: a rule with trained scores in place of weight * mask."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.errors import UsageError
from lth_tf.masking import model as m
from lth_tf.masking.effective import BINARY, Effective, pruned_are_zero
from lth_tf.masking.variables import stored_value
from tests.masking.masked_models import masked, sequential

X = np.random.default_rng(0).random((32, 6)).astype(np.float32)
Y = X[:, :2] - X[:, 2:4]


@keras.saving.register_keras_serializable(package="tests")
class Sigmoid(Effective):
    """weight * sigmoid(beta * score), continuous sparsification's soft mask."""

    def __init__(self, beta=1.0):
        self.beta = beta

    def build(self, weight, add_variable):
        return {
            "score": add_variable("score", weight.shape, "zeros"),
            "beta": add_variable(
                "beta", (), keras.initializers.Constant(self.beta), trainable=False
            ),
        }

    def __call__(self, weight, mask, state):
        return weight * keras.ops.sigmoid(state["beta"] * state["score"])

    def get_config(self):
        return {"beta": self.beta}


def soft(beta=2.0):
    model = sequential(L.Dense(8, "relu", name="h"), L.Dense(2, name="o"))
    return m.set_effective(m.mask_model(model), Sigmoid(beta))


def reference(model, x=X):
    weights, states = m.get_weights(model), m.effective_states(model)

    def kernel(path):
        score = stored_value(states[path]["score"])
        return weights[path] / (1 + np.exp(-float(states[path]["beta"]) * score))

    hidden = np.maximum(x @ kernel("h/kernel") + weights["h/bias"], 0)
    return hidden @ kernel("o/kernel") + weights["o/bias"]


@pytest.mark.parametrize("way", ["fit", "tape", "function"])
def test_scores_train(way):
    model = soft()
    start = m.get_weights(model)
    np.testing.assert_allclose(np.array(model(X)), reference(model), rtol=1e-5, atol=1e-6)
    if way == "fit":
        model.compile(keras.optimizers.Adam(0.01), "mse")
        losses = model.fit(X, Y, epochs=10, verbose=0).history["loss"]
    else:
        optimizer, losses = keras.optimizers.Adam(0.01), []

        def step():
            with tf.GradientTape() as tape:
                loss = tf.reduce_mean((model(X) - Y) ** 2)
            gradients = tape.gradient(loss, model.trainable_variables)
            optimizer.apply(gradients, model.trainable_variables)
            return loss

        optimizer.build(model.trainable_variables)
        step = tf.function(step) if way == "function" else step
        losses = [float(step()) for _ in range(10)]
    assert losses[-1] < losses[0]
    for state in m.effective_states(model).values():
        assert stored_value(state["score"]).any()
        assert float(state["beta"]) == 2.0
    assert (m.get_weights(model)["h/kernel"] != start["h/kernel"]).any()
    assert set(m.get_weights(model)) == {"h/kernel", "h/bias", "o/kernel", "o/bias"}
    np.testing.assert_allclose(np.array(model(X)), reference(model), rtol=1e-5, atol=1e-6)


def test_weights_are_updated_from_what_is_stored():
    """An update of a soft-masked weight must not start from the effective value."""
    model = soft()
    stored = stored_value(m.weight_variables(model)["h/kernel"])
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(X) - Y) ** 2)
    weight = m.weight_variables(model)["h/kernel"]
    gradient = tape.gradient(loss, weight)
    keras.optimizers.SGD(0.5).apply([gradient], [weight])
    np.testing.assert_allclose(stored_value(weight), stored - 0.5 * gradient.numpy(), rtol=1e-6)
    weight.assign_add(keras.ops.ones(weight.shape))
    np.testing.assert_allclose(stored_value(weight), stored - 0.5 * gradient.numpy() + 1, rtol=1e-6)


@pytest.mark.parametrize("kind", ["m.keras", "checkpoint"])
def test_scores_are_saved(kind, tmp_path):
    model = soft(beta=3.0)
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    if kind == "checkpoint":
        path = tf.train.Checkpoint(model=model).save(str(tmp_path / kind))
        loaded = soft(beta=1.0)
        tf.train.Checkpoint(model=loaded).restore(path).assert_existing_objects_matched()
    else:
        model.save(tmp_path / kind)
        loaded = m.load_model(str(tmp_path / kind))
    np.testing.assert_allclose(np.array(loaded(X)), np.array(model(X)), rtol=1e-6)
    states = m.effective_states(loaded)
    assert float(states["o/kernel"]["beta"]) == 3.0
    score = stored_value(m.effective_states(model)["o/kernel"]["score"])
    np.testing.assert_array_equal(stored_value(states["o/kernel"]["score"]), score)


def test_strip_stores_the_effective_weights(tmp_path):
    model = soft()
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    before = np.array(model(X))
    m.strip_masks(model).save(tmp_path / "m.keras")
    np.testing.assert_allclose(np.array(model(X)), before, rtol=1e-6)
    assert len(model.weights) == 4
    plain = keras.models.load_model(tmp_path / "m.keras", compile=False)
    np.testing.assert_allclose(np.array(plain(X)), before, rtol=1e-6)


def test_a_rule_for_some_weights_and_back():
    model = masked(sequential(L.Dense(8, "relu", name="h"), L.Dense(2, name="o")))
    before = np.array(model(X))
    m.set_effective(model, Sigmoid(), paths=["o/kernel"])
    assert list(m.effective_states(model)) == ["o/kernel"]
    np.testing.assert_allclose(
        np.array(model(X)) - m.get_weights(model)["o/bias"], before / 2, rtol=1e-5, atol=1e-6
    )
    m.set_effective(model, BINARY)
    np.testing.assert_array_equal(np.array(model(X)), before)
    assert m.effective_states(model) == {}
    with pytest.raises(UsageError, match="Received: 'x/kernel', which model"):
        m.set_effective(model, Sigmoid(), paths=["x/kernel"])


def test_the_fast_path_leaves_rules_alone():
    model = soft()
    expected = reference(model)
    with pruned_are_zero():
        found = np.array(model(X))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)
