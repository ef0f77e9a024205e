"""However a layer or a model gets at its weight, it gets the masked one."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.masking import model as m
from tests.masking.masked_models import assert_obeys_masks, masked, sequential


class Private(L.Layer):
    """Reads `_w`; `w` is there for others."""

    def build(self, shape):
        self._w = self.add_weight(shape=(shape[-1], 6), name="w")

    @property
    def w(self):
        return self._w

    def call(self, x):
        return x @ self._w


class Transposing(Private):
    @property
    def w(self):
        return keras.ops.transpose(self._w)

    def call(self, x):
        return x @ keras.ops.transpose(self.w)


class InDict(L.Layer):
    def build(self, shape):
        self.ws = {"a": self.add_weight(shape=(shape[-1], 6), name="a")}

    def call(self, x):
        return x @ self.ws["a"]


class Mangled(L.Layer):
    def build(self, shape):
        self.__w = self.add_weight(shape=(shape[-1], 6), name="w")

    def call(self, x):
        return x @ self.__w


class Looping(L.Layer):
    def build(self, shape):
        self.w0 = self.add_weight(shape=(6, 6), name="w0")
        self.w1 = self.add_weight(shape=(6, 6), name="w1")

    def call(self, x):
        for weight in self.trainable_weights:
            x = tf.matmul(x, weight)
        return x


class Value(Private):
    def call(self, x):
        return tf.matmul(x, self._w.value)


class Gathering(Private):
    def call(self, x):
        return x @ tf.gather(self._w, tf.range(6)) + self._w[0]


class Reading(Private):
    """Takes the whole weight through numpy-like operators."""

    def call(self, x):
        return x @ (2.0 * self._w - self._w / 2.0) + keras.ops.sum(abs(self._w))


class Compiled(Private):
    @tf.function
    def call(self, x):
        return x @ self._w


class Assigning(Private):
    """Clips its weight where it is used."""

    def call(self, x):
        self._w.assign(keras.ops.clip(self._w, -0.1, 0.1))
        return x @ self._w


class Made(Private):
    """Keeps masks of its own under a name that masking must not take."""

    def build(self, shape):
        super().build(shape)
        self._masks = [np.tril(np.ones((6, 6), np.float32))]

    def call(self, x):
        return x @ (self._w * self._masks[0])


class Registered(L.Layer):
    known = {}

    def __init_subclass__(cls, key, **kwargs):
        super().__init_subclass__(**kwargs)
        Registered.known[key] = cls


class Keyed(Registered, key="keyed"):
    build, call = Private.build, Private.call


class Walking(keras.Model):
    """Has a weight of its own and calls its layers in turn."""

    def __init__(self):
        super().__init__()
        self.a = L.Dense(6, name="a")
        self.b = L.Dense(2, name="b")

    def build(self, shape):
        self.q = self.add_weight(shape=(6, 6), name="q")
        self.a.build((None, 6))
        self.b.build((None, 6))
        self.built = True

    def call(self, x):
        x = x @ self.q
        for layer in self._layers:
            x = layer(x)
        return x


def tied(read):
    tokens = keras.Input((6,), dtype="int32")
    embedding = L.Embedding(9, 8, name="e")
    hidden = L.Dense(8, "relu", name="h")(embedding(tokens))
    return keras.Model(tokens, read(hidden, embedding))


def walking():
    model = Walking()
    model.build((None, 6))
    return model


MODELS = {
    **{
        kind.__name__: (lambda kind=kind: sequential(kind(name="own"), L.Dense(2, name="o")))
        for kind in (
            *(Private, Transposing, InDict, Mangled, Looping, Value, Gathering, Reading),
            *(Compiled, Assigning, Made, Keyed),
        )
    },
    "walking": walking,
    "einsum": lambda: tied(lambda h, e: keras.ops.einsum("btd,vd->btv", h, e.embeddings)),
    "lambda": lambda: tied(
        lambda h, e: L.Lambda(lambda x: x @ keras.ops.transpose(e.embeddings))(h)
    ),
    "reversible": lambda: tied(lambda h, e: L.ReversibleEmbedding(9, 8, name="r")(h, reverse=True)),
    "spectral": lambda: sequential(L.SpectralNormalization(L.Dense(3, name="i"), name="sn")),
}


def inputs_of(model):
    random = np.random.default_rng(0)
    if model.input_dtype == "float32" and not (model.inputs and model.inputs[0].dtype == "int32"):
        return random.random((8, 6)).astype(np.float32)
    return random.integers(0, 9, (8, 6))


@pytest.mark.parametrize("name", [name for name in MODELS if name != "reversible"])
def test_pruned_weights_stay_pruned_and_strip_computes_the_same(name):
    model = MODELS[name]()
    x = inputs_of(model) if name != "walking" else np.ones((8, 6), np.float32)
    before = np.array(model(x))
    model.compile("adam", "mse")
    model.fit(x, np.ones_like(before), verbose=0)
    before = np.array(model(x))
    m.mask_model(model)
    np.testing.assert_array_equal(np.array(model(x)), before)
    masked(model)
    masks = m.get_masks(model)
    model.fit(x, np.ones_like(before), epochs=2, verbose=0)
    assert_obeys_masks(model, x, masks)
    after = np.array(model(x))
    # One step by hand, on a function compiled here and now.
    optimizer = keras.optimizers.SGD(0.1, momentum=0.9)
    with tf.GradientTape() as tape:
        loss = tf.reduce_mean(tf.square(model(x, training=True) - 1.0))
    optimizer.apply(tape.gradient(loss, model.trainable_variables), model.trainable_variables)
    assert_obeys_masks(model, x, masks)
    after = np.array(model(x))
    np.testing.assert_allclose(np.array(m.strip_masks(model)(x)), after, rtol=1e-6, atol=1e-6)


def test_kernel_is_still_a_variable():
    model = masked(sequential(L.Dense(4, name="d"), L.Dense(2, name="e")))
    kernel = model.get_layer("d").kernel
    mask = m.get_masks(model)["d/kernel"]
    assert kernel.path.endswith("d/kernel") and kernel.trainable
    kernel.assign(np.ones((6, 4)))
    np.testing.assert_array_equal(kernel.numpy(), mask)
    kernel.assign_add(np.ones((6, 4)))
    np.testing.assert_array_equal(np.array(kernel), 2 * mask)
    np.testing.assert_array_equal(np.array(kernel * 2 + 1), 4 * mask + 1)
    optimizer = keras.optimizers.AdamW(0.1, weight_decay=0.5)
    optimizer.exclude_from_weight_decay(var_list=[kernel])
    model.compile(optimizer, "mse")
    model.fit(np.zeros((8, 6)), np.zeros((8, 2)), verbose=0)
    np.testing.assert_array_equal(np.array(kernel), 2 * mask)


def test_a_weight_read_outside_layers_is_masked_and_so_is_its_gradient():
    model = masked(sequential(L.Dense(4, name="d")))
    mask = m.get_masks(model)["d/kernel"]
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum((model.get_layer("d").kernel - 1.0) ** 2)
    gradient = tape.gradient(loss, model.trainable_variables[0]).numpy()
    assert not gradient[mask == 0].any() and gradient[mask == 1].all()


@pytest.mark.parametrize("regularizer", ["l1", "l2", keras.regularizers.OrthogonalRegularizer()])
def test_regularizers_see_masked_weights(regularizer):
    model = masked(sequential(L.Dense(4, name="d", kernel_regularizer=regularizer)))
    weight, mask = m.weight_variables(model)["d/kernel"], m.get_masks(model)["d/kernel"]
    with tf.GradientTape() as tape:
        loss = tf.add_n(model.losses)
    assert not tape.gradient(loss, weight).numpy()[mask == 0].any()
    expected = keras.regularizers.get(regularizer)(m.get_weights(model)["d/kernel"])
    np.testing.assert_allclose(float(loss), float(expected), rtol=1e-6)


@pytest.mark.parametrize("optimizer", ["adam", "sgd", "muon"])
def test_old_momentum_and_mixing_updates_leave_stored_zeros(optimizer):
    model = sequential(L.Dense(8, "relu", name="d"), L.Dense(2, name="e"))
    if optimizer == "sgd":
        model.compile(keras.optimizers.SGD(0.1, momentum=0.9), "mse")
    elif optimizer == "muon":
        model.compile(keras.optimizers.Muon(0.01), "mse")
    else:
        model.compile("adam", "mse")
    x = np.random.default_rng(0).random((16, 6)).astype(np.float32)
    m.mask_model(model)
    model.fit(x, np.ones((16, 2)), epochs=2, verbose=0)
    masked(model)
    masks = m.get_masks(model)
    model.fit(x, np.ones((16, 2)), epochs=2, verbose=0)
    assert_obeys_masks(model, x, masks)


@pytest.mark.parametrize("what", [L.Dense(3), "a model", "tf_keras"])
def test_other_things_are_refused_in_one_line(what):
    if what == "tf_keras":
        # By its shape alone: tf_keras in this process would change tf.keras.
        what = type("Sequential", (), {"__module__": "tf_keras.src.engine.sequential"})()
    with pytest.raises(ValueError, match="Expected a Keras 3 model. Received: model of class"):
        m.mask_model(what)


def test_masks_before_masking_are_refused():
    with pytest.raises(ValueError, match="Call lth_tf.mask_model"):
        m.set_masks(sequential(L.Dense(2, name="d")), {"d/kernel": np.ones((6, 2))})
