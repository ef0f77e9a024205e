"""Masks on models as people have them: composed, shared, frozen, cloned, exported."""

import os
import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import lth_tf
import lth_tf.masking.model as m
from lth_tf.errors import UsageError


def sequence(*stack):
    return keras.Sequential([keras.Input((6, 4)), *stack])


def volume(*stack):
    return keras.Sequential([keras.Input((5, 5, 5, 2)), *stack])


def shared():
    first, second = keras.Input((4,)), keras.Input((4,))
    layer = L.Dense(3, name="both")
    return keras.Model([first, second], L.Dense(2, name="head")(layer(first) - layer(second)))


@keras.saving.register_keras_serializable(package="tests")
class Block(L.Layer):
    """A custom layer made of layers."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.wide = L.Dense(units, "relu", name="wide")
        self.norm = L.LayerNormalization(name="norm")

    def build(self, shape):
        self.wide.build(shape)
        self.norm.build((*shape[:-1], self.units))

    def call(self, inputs):
        return self.norm(self.wide(inputs))

    def get_config(self):
        return {**super().get_config(), "units": self.units}


@keras.saving.register_keras_serializable(package="tests")
class Wide(L.Layer):
    """A custom layer whose arguments Keras itself keeps."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units

    def build(self, shape):
        self.factor = self.add_weight(shape=(shape[-1], self.units), name="factor")

    def call(self, inputs):
        return inputs @ self.factor


@keras.saving.register_keras_serializable(package="tests")
class Lazy(L.Layer):
    """A custom layer that leaves building to its layers, as most do."""

    def __init__(self, units, **kwargs):
        super().__init__(**kwargs)
        self.units = units
        self.first = L.Dense(units, name="first")
        self.second = L.Dense(units, name="second")

    def call(self, inputs):
        return self.second(keras.ops.relu(self.first(inputs)))


@keras.saving.register_keras_serializable(package="tests")
class LazyModel(keras.Model):
    """A subclassed model without `build`."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.lazy = Lazy(4, name="lazy")
        self.out = L.Dense(2, name="out")

    def call(self, inputs):
        return self.out(keras.ops.mean(self.lazy(keras.ops.one_hot(inputs, 9)), axis=1))


@keras.saving.register_keras_serializable(package="tests")
class Tied(keras.Model):
    """A model whose output layer is its embedding."""

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.embed = L.Embedding(9, 4, name="embed")
        self.output_layer = TiedOutput(self.embed, name="tied")

    def build(self, shape):
        self.embed.build(shape)
        self.output_layer.build((*shape, 4))

    def call(self, inputs):
        return self.output_layer(keras.ops.mean(self.embed(inputs), axis=1))


class TiedOutput(L.Layer):
    def __init__(self, embed, **kwargs):
        super().__init__(**kwargs)
        self.embed = embed

    def build(self, shape):
        self.table = self.embed.embeddings

    def call(self, inputs):
        return inputs @ keras.ops.transpose(self.table)


def lazy_model():
    model = LazyModel(name="lazy_model")
    model(np.zeros((1, 6), np.int32))
    return model


def tied():
    model = Tied(name="tied_model")
    model.build((None, 6))
    model(np.zeros((1, 6), np.int32))
    return model


@keras.saving.register_keras_serializable(package="tests")
class Classifier(keras.Model):
    """A subclassed model with a nested model and a list of layers."""

    def __init__(self, size, **kwargs):
        super().__init__(**kwargs)
        self.embed = L.Embedding(9, size, name="embed")
        self.blocks = [Block(4, name=f"block{i}") for i in range(2)]
        self.size = size
        self.head = keras.Sequential([keras.Input((4,)), L.Dense(2, name="out")], name="head")

    def build(self, shape):
        self.embed.build(shape)
        for block, size in zip(self.blocks, (self.size, 4), strict=True):
            block.build((*shape, size))

    def call(self, inputs):
        hidden = self.embed(inputs)
        for block in self.blocks:
            hidden = block(hidden)
        return self.head(keras.ops.mean(hidden, axis=1))

    def get_config(self):
        return {**super().get_config(), "size": self.size}


def subclassed():
    model = Classifier(5, name="classifier")
    model.build((None, 6))
    model(np.zeros((1, 6), np.int32))
    return model


def transformer():
    tokens = keras.Input((6,), dtype="int32")
    hidden = L.Embedding(9, 8, name="embed")(tokens)
    hidden = L.Add()([hidden, L.GroupQueryAttention(4, 2, 1, name="gqa")(hidden, hidden)])
    return keras.Model(tokens, L.Dense(3, name="out")(L.GlobalAveragePooling1D()(hidden)))


MODELS = {
    "Conv3D": (lambda: volume(L.Conv3D(3, 2, name="c")), ["c/kernel"]),
    "Conv3DTranspose": (lambda: volume(L.Conv3DTranspose(3, 2, name="c")), ["c/kernel"]),
    "Conv1DTranspose": (lambda: sequence(L.Conv1DTranspose(3, 2, name="c")), ["c/kernel"]),
    "DepthwiseConv1D": (lambda: sequence(L.DepthwiseConv1D(2, name="c")), ["c/kernel"]),
    "SeparableConv1D": (
        lambda: sequence(L.SeparableConv1D(3, 2, name="c")),
        ["c/depthwise_kernel", "c/pointwise_kernel"],
    ),
    "ConvLSTM1D": (
        lambda: keras.Sequential([keras.Input((3, 6, 2)), L.ConvLSTM1D(2, 3, name="r")]),
        ["r/conv_lstm_cell/kernel", "r/conv_lstm_cell/recurrent_kernel"],
    ),
    "stacked cells": (
        lambda: sequence(L.RNN([L.LSTMCell(3, name="a"), L.GRUCell(2, name="b")], name="r")),
        4,
    ),
    "shared layer": (shared, ["both/kernel", "head/kernel"]),
    "custom layer": (lambda: sequence(Wide(3, name="w")), ["w/factor"]),
    "custom layer of layers": (lambda: sequence(Block(4, name="b")), ["b/wide/kernel"]),
    "subclassed": (
        subclassed,
        ["embed/embeddings", "block0/wide/kernel", "block1/wide/kernel", "head/out/kernel"],
    ),
    "layer without build": (
        lambda: sequence(Lazy(4, name="l")),
        ["l/first/kernel", "l/second/kernel"],
    ),
    "model without build": (
        lazy_model,
        ["lazy/first/kernel", "lazy/second/kernel", "out/kernel"],
    ),
    "tied weights": (tied, ["embed/embeddings"]),
    "transformer": (transformer, 6),
}


def inputs_for(model):
    random = np.random.default_rng(0)
    shapes = [(5, *x.shape[1:]) for x in model.inputs] if hasattr(model, "inputs") else [(5, 6)]
    found = [random.integers(0, 9, shape).astype(np.float32) for shape in shapes or [(5, 6)]]
    return found if len(found) > 1 else found[0]


def half(model):
    random = np.random.default_rng(0)
    return {
        path: (random.random(mask.shape) < 0.5).astype(np.uint8)
        for path, mask in m.get_masks(model).items()
    }


# Keras says this of layers without `build` that it loads, masked or not.
@pytest.mark.filterwarnings("ignore:`build..` was called on layer")
@pytest.mark.parametrize("name", MODELS)
def test_masks_train_save_and_strip(name, tmp_path):
    build, expected = MODELS[name]
    model = build()
    x = inputs_for(model)
    before = np.array(model(x))
    m.mask_model(model)
    masks = half(model)
    assert len(masks) == expected if isinstance(expected, int) else list(masks) == expected
    np.testing.assert_array_equal(np.array(model(x)), before)
    m.set_masks(model, masks)
    model.compile("adam", "mse")
    start = m.get_weights(model)
    model.fit(x, np.ones(before.shape, np.float32), epochs=2, verbose=0)
    trained, variables = m.get_weights(model), m.weight_variables(model)
    for path, mask in masks.items():
        assert not m.to_numpy(variables[path])[mask == 0].any()
        assert (trained[path] != start[path])[mask == 1].any()
    after = np.array(model(x))
    model.save(tmp_path / "model.keras")
    loaded = m.load_model(str(tmp_path / "model.keras"))
    np.testing.assert_allclose(np.array(loaded(x)), after, rtol=1e-6, atol=1e-6)
    found = m.get_masks(loaded)
    assert list(found) == list(masks)
    for path, mask in masks.items():
        np.testing.assert_array_equal(found[path], mask)
    np.testing.assert_array_equal(np.array(m.strip_masks(model)(x)), after)


def test_registered_classes_load_in_another_process(tmp_path):
    model = m.mask_model(sequence(Wide(3, name="w"), Block(4, name="b")))
    model.save(tmp_path / "model.keras")
    code = (
        "import sys, keras; sys.path.insert(0, sys.argv[1]); import test_any_model, lth_tf;"
        "print(list(lth_tf.get_masks(lth_tf.load_model(sys.argv[2]))))"
    )
    folder = pathlib.Path(__file__).parent
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder), str(tmp_path / "model.keras")],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(folder.parent)},
    )
    assert done.stdout == "['w/factor', 'b/wide/kernel']\n", done.stderr[-2000:]


def half_masked():
    model = m.mask_model(
        keras.Sequential(
            [keras.Input((4,)), L.Dense(6, "relu", name="one"), L.Dense(3, name="two")], name="two"
        )
    )
    m.set_masks(model, half(model))
    return model


def test_frozen_layers_are_left_alone():
    model = keras.Sequential([keras.Input((4,)), L.Dense(6, name="one"), L.Dense(3, name="two")])
    model.get_layer("one").trainable = False
    assert list(m.get_masks(m.mask_model(model))) == ["two/kernel"]


def test_layer_frozen_after_masking_keeps_its_mask():
    model = half_masked()
    x = np.ones((8, 4), np.float32)
    before = np.array(model(x))
    model.get_layer("one").trainable = False
    np.testing.assert_array_equal(np.array(model(x)), before)
    start = m.get_weights(model)["one/kernel"]
    model.compile("sgd", "mse")
    model.fit(x, np.ones((8, 3), np.float32), verbose=0)
    np.testing.assert_array_equal(m.get_weights(model)["one/kernel"], start)
    model.get_layer("one").trainable = True
    assert list(m.get_masks(model)) == ["one/kernel", "two/kernel"]
    masks = {id(v) for layer in m.layers_of(model) for v in [s.mask for s in m.own_slots(layer)]}
    assert not masks & {id(v) for v in model.trainable_variables}


def test_frozen_masked_layer_is_saved_and_cloned_with_its_mask(tmp_path):
    model = half_masked()
    model.get_layer("one").trainable = False
    model.save(tmp_path / "model.keras")
    loaded = m.load_model(str(tmp_path / "model.keras"))
    for path, mask in m.get_masks(model).items():
        np.testing.assert_array_equal(m.get_masks(loaded)[path], mask)
    assert list(m.get_masks(keras.models.clone_model(model))) == ["one/kernel", "two/kernel"]


def test_clone_of_a_layer_without_build():
    model = m.mask_model(sequence(Lazy(4, name="l"), L.Dense(2, name="out")))
    clone = keras.models.clone_model(model)
    assert list(m.get_masks(clone)) == ["l/first/kernel", "l/second/kernel", "out/kernel"]
    m.set_masks(clone, {path: np.zeros_like(v) for path, v in m.get_masks(clone).items()})
    assert not np.array(clone(np.ones((2, 6, 4), np.float32))).any()


def test_clone_has_masks_of_its_own():
    model = half_masked()
    clone = keras.models.clone_model(model)
    assert list(m.get_masks(clone)) == ["one/kernel", "two/kernel"]
    clone.set_weights(model.get_weights())
    x = np.ones((2, 4), np.float32)
    np.testing.assert_array_equal(np.array(clone(x)), np.array(model(x)))
    m.set_masks(clone, {path: np.zeros_like(v) for path, v in m.get_masks(clone).items()})
    assert np.array(model(x)).any()


def test_weights_file_holds_the_masks(tmp_path):
    model, other = half_masked(), m.mask_model(half_masked())
    m.set_masks(other, {path: np.ones_like(v) for path, v in m.get_masks(other).items()})
    model.save_weights(tmp_path / "it.weights.h5")
    other.load_weights(tmp_path / "it.weights.h5")
    for path, mask in m.get_masks(model).items():
        np.testing.assert_array_equal(m.get_masks(other)[path], mask)


def test_model_export_and_keras_summary(tmp_path, capsys):
    model = half_masked()
    x = np.random.default_rng(0).random((3, 4)).astype(np.float32)
    model.export(tmp_path / "saved", verbose=False)
    loaded = tf.saved_model.load(tmp_path / "saved")
    served = loaded.serve(x)
    np.testing.assert_allclose(served.numpy(), np.array(model(x)), rtol=1e-6, atol=1e-6)
    capsys.readouterr()
    model.summary()
    shown = capsys.readouterr().out
    assert "one (MaskedDense)" in shown
    assert "Non-trainable params: 42" in shown  # 24 + 18 masks


def test_summary_of_masks():
    model = half_masked()
    mask = np.zeros((4, 6), np.uint8)
    mask[0, :3] = 1
    m.set_masks(model, {"one/kernel": mask, "two/kernel": np.ones((6, 3), np.uint8)})
    lines = []
    lth_tf.summary(model, print_fn=lines.append)
    assert [line.split() for line in lines] == [
        ["weight", "values", "kept", "%", "remaining"],
        ["one/kernel", "24", "3", "12.50"],
        ["two/kernel", "18", "18", "100.00"],
        ["all", "masked", "42", "21", "50.00"],
        ["not", "masked", "9", "9", "100.00"],
    ]
    with pytest.raises(UsageError, match="Expected a masked model"):
        lth_tf.summary(m.strip_masks(model))
