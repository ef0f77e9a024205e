"""Functions compiled before masking know nothing of masks: they are compiled anew."""

import gc

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.masking import model as m
from tests.masking.masked_models import assert_obeys_masks, masked, sequential

X = np.random.default_rng(0).random((16, 6)).astype(np.float32)
Y = np.ones((16, 2), np.float32)


class Decorated(keras.Model):
    """Its call is a `tf.function`."""

    def __init__(self):
        super().__init__()
        self.h = L.Dense(8, "relu", name="h")
        self.o = L.Dense(2, name="o")

    def build(self, shape):
        self.h.build((None, 6))
        self.o.build((None, 8))
        self.built = True

    @tf.function
    def call(self, x):
        return self.o(self.h(x))


def decorated():
    model = Decorated()
    model.build((None, 6))
    return model


def step(model, optimizer):
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean((model(X) - Y) ** 2)
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)


@pytest.mark.parametrize("before", ["call", "fit", "predict", "nothing"])
def test_decorated_call(before):
    model = decorated()
    model.compile("adam", "mse")
    if before == "fit":
        model.fit(X, Y, verbose=0)
    elif before != "nothing":
        getattr(model, "__call__" if before == "call" else "predict")(X)
    masked(model)
    masks = m.get_masks(model)
    for _ in range(3):
        step(model, keras.optimizers.Adam(0.01))
    model.fit(X, Y, verbose=0)
    assert_obeys_masks(model, X, masks)
    np.testing.assert_allclose(model.predict(X, verbose=0), np.array(model(X)), rtol=1e-6)


def test_training_step_compiled_by_hand():
    model = sequential(L.Dense(8, "relu", name="h"), L.Dense(2, name="o"))
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    compiled = tf.function(lambda: step(model, optimizer))
    predict = tf.function(model, jit_compile=True)
    compiled()
    predict(X)
    masked(model)
    masks = m.get_masks(model)
    for _ in range(3):
        compiled()
    assert_obeys_masks(model, X, masks)
    np.testing.assert_allclose(np.array(predict(X)), np.array(model(X)), rtol=1e-5, atol=1e-6)
    m.strip_masks(model)
    compiled()
    assert m.get_weights(model)["h/kernel"][masks["h/kernel"] == 0].any()
    np.testing.assert_allclose(np.array(predict(X)), np.array(model(X)), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("which", ["inner", "outer"])
def test_models_inside_and_around_the_masked_one(which):
    inner = sequential(L.Dense(8, "relu", name="a"), L.Dense(4, name="b"), name="inner")
    outer = sequential(inner, L.Dense(2, name="head"))
    outer.compile("adam", "mse")
    outer.fit(X, Y, verbose=0)
    outer.predict(X, verbose=0)
    inner.predict(X, verbose=0)
    model = masked({"inner": inner, "outer": outer}[which])
    masks = m.get_masks(model)
    outer.fit(X, Y, epochs=3, verbose=0)
    assert_obeys_masks(model, X, masks)
    for one in (inner, outer):
        np.testing.assert_allclose(one.predict(X, verbose=0), np.array(one(X)), rtol=1e-6)


def test_masking_when_fit_has_begun():
    class MaskAtBegin(keras.callbacks.Callback):
        def on_train_begin(self, logs=None):
            masked(self.model)

    model = sequential(L.Dense(8, "relu", name="h"), L.Dense(2, name="o"))
    model.compile("adam", "mse")
    model.fit(X, Y, verbose=0)
    model.fit(X, Y, epochs=2, verbose=0, callbacks=[MaskAtBegin()])
    assert_obeys_masks(model, X, m.get_masks(model))


def test_functions_of_other_models_are_kept():
    model, other = sequential(L.Dense(2, name="o")), sequential(L.Dense(2, name="o"))
    other.compile("adam", "mse")
    other.predict(X, verbose=0)
    function = other.predict_function
    compiled = tf.function(other)
    compiled(X)
    masked(model)
    assert other.predict_function is function
    assert compiled.experimental_get_tracing_count() == 1
    compiled(X)
    assert compiled.experimental_get_tracing_count() == 1


def test_functions_kept_from_the_garbage_collector():
    model = sequential(L.Dense(8, "relu", name="h"), L.Dense(2, name="o"))
    optimizer = keras.optimizers.Adam(0.01)
    optimizer.build(model.trainable_variables)
    compiled = tf.function(lambda: step(model, optimizer))
    compiled()
    gc.freeze()
    masked(model)
    compiled()
    assert_obeys_masks(model, X, m.get_masks(model))
