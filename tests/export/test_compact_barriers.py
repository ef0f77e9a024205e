"""compact: nothing is removed across a layer it does not know."""

import keras
import numpy as np
import pytest
from keras import layers

from export.compaction.compact import compact
from tests.export.hand_built import edit, kernels, randomize

RELU = {"activation": "relu"}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


class Doubled(layers.Dense):
    """A subclass that computes something else than its parent."""

    def call(self, inputs):
        return 2 * super().call(inputs) + 1


def adapted() -> layers.Layer:
    layer = layers.Normalization()
    layer.adapt(np.arange(40.0).reshape(10, 4) ** 2)
    return layer


def squared(x):
    return x * x + 1


def ones(shape, dtype=None):
    return keras.ops.ones(shape, dtype)


def vocabulary() -> keras.Sequential:
    layer = layers.IntegerLookup(output_mode="multi_hot")
    layer.adapt(np.array([3, 5, 9]))
    return keras.Sequential([keras.Input((2,), dtype="int64"), layer])


def bins() -> layers.Layer:
    layer = layers.Discretization(num_bins=4, output_mode="int")
    layer.adapt(np.linspace(-1, 3, 50))
    return layer


def nested_bins() -> keras.Sequential:
    return keras.Sequential([keras.Input((4,)), bins()])


def barriers():
    shared, second = layers.Dense(4), layers.Dense(4)
    yield "subclass", lambda x: Doubled(4)(x)
    yield "layer norm", lambda x: layers.LayerNormalization()(x)
    yield "prelu", lambda x: layers.PReLU()(x)
    yield "operator", lambda x: x * 2 + 1
    yield "reshape", lambda x: layers.Flatten()(layers.Reshape((2, 2))(x))
    yield "nested", lambda x: keras.Sequential([keras.Input((4,)), second, layers.ReLU()])(x)
    yield "normalization", lambda x: adapted()(x)
    yield "nested normalization", lambda x: keras.Sequential([keras.Input((4,)), adapted()])(x)
    yield "vocabulary", lambda x: vocabulary()(keras.ops.cast(x[:, :2], "int64"))
    yield "bins", lambda x: keras.ops.cast(bins()(x), "float32")
    yield "nested bins", lambda x: keras.ops.cast(nested_bins()(x), "float32")
    yield (
        "prelu inside",
        lambda x: layers.Dense(4, activation=layers.PReLU(), use_bias=False)(x * 1),
    )
    yield "array", lambda x: keras.ops.add(x1=x, x2=np.ones(4, np.float32))
    yield "training", lambda x: layers.BatchNormalization()(x, training=True)
    yield (
        "groups",
        lambda x: layers.Flatten()(layers.Conv1D(4, 1, groups=2)(layers.Reshape((1, 4))(x))),
    )
    yield "shared", lambda x: shared(shared(x))
    yield "lstm", lambda x: layers.LSTM(3)(layers.Reshape((2, 2))(x))
    yield (
        "einsum",
        lambda x: layers.Flatten()(
            layers.EinsumDense("abc,cd->abd", (2, 3))(layers.Reshape((2, 2))(x))
        ),
    )
    yield "broadcast", lambda x: layers.Add()([x, layers.Dense(1)(x)])


@pytest.mark.parametrize("middle", [pytest.param(f, id=name) for name, f in barriers()])
def test_unknown_layers_are_barriers(middle):
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="before", **RELU)(inputs)
    x = layers.Dense(5, name="after", **RELU)(middle(x))
    model = keras.Model(inputs, layers.Dense(2, name="end")(x))
    randomize(model)
    edit(model.get_layer("before"), kernel=(np.s_[:, 1], 0), bias=(1, 0.5))
    edit(model.get_layer("after"), kernel=(np.s_[0], 0))
    edit(model.get_layer("end"), kernel=(2, 0))
    small = compact(model)
    assert kernels(small)["before"] == (3, 4)
    assert kernels(small)["after"][1] == 4
    batch = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    np.testing.assert_allclose(small(batch), model(batch), rtol=1e-4, atol=1e-4)


def test_functions_of_the_users_own():
    inputs = keras.Input((3,))
    x = layers.Dense(4, name="before", **RELU, kernel_initializer=ones)(inputs)
    x = layers.Dense(5, name="after", activation=squared)(x)
    model = keras.Model(inputs, layers.Dense(2, name="end")(x))
    randomize(model)
    edit(model.get_layer("before"), kernel=(np.s_[:, 1], 0), bias=(1, 0.5))
    small = compact(model)
    assert kernels(small) == {"before": (3, 3), "after": (3, 5), "end": (5, 2)}
    batch = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    np.testing.assert_allclose(small(batch), model(batch), rtol=1e-4, atol=1e-4)


def test_layers_without_weights_that_are_called_twice():
    add, reshape = layers.Add(), layers.Reshape((1, 1, 4))
    inputs = keras.Input((3,))
    x, y = (layers.Dense(4, name=name, **RELU)(inputs) for name in ("x", "y"))
    z = layers.Conv2D(4, 1, name="z")(reshape(x))
    z = layers.Flatten()(layers.Concatenate()([z, reshape(y)]))
    for name in ("one", "two"):
        x = add([x, layers.Dense(4, name=name)(x)])
    model = keras.Model(inputs, layers.Dense(2)(layers.Concatenate()([x, z])))
    randomize(model)
    edit(model.get_layer("y"), kernel=(np.s_[:, 1], 0))
    for name in ("one", "two"):
        edit(model.get_layer(name), kernel=(np.s_[:], 0))
    small = compact(model)
    batch = np.random.default_rng(0).normal(size=(7, 3)).astype("float32")
    np.testing.assert_allclose(small(batch), model(batch), rtol=1e-4, atol=1e-4)
