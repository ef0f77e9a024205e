"""Masks in every format: they come back with the weights, under the right class."""

import pathlib
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.errors import UsageError
from lth_tf.masking import model as m
from lth_tf.masking.variables import stored_value
from tests.masking.masked_models import assert_obeys_masks, masked, sequential

OLD = pathlib.Path(__file__).parents[1] / "data" / "masked_by_old_classes.keras"
X = np.random.default_rng(1).random((2, 6, 4)).astype(np.float32)


def attention():
    inputs = keras.Input((6, 4))
    hidden = L.MultiHeadAttention(2, 3, name="a")(inputs, inputs)
    return keras.Model(inputs, L.Dense(2, name="o")(hidden))


def bidirectional():
    return sequential(
        L.Bidirectional(L.LSTM(3, name="l"), name="bi"), L.Dense(2, name="o"), shape=(6, 4)
    )


def separable():
    return sequential(L.SeparableConv1D(3, 2, name="c"), L.Dense(2, name="o"), shape=(6, 4))


def same_masks(one, other):
    masks = m.get_masks(one)
    assert list(m.get_masks(other)) == list(masks)
    return all(np.array_equal(mask, m.get_masks(other)[path]) for path, mask in masks.items())


def test_file_of_the_first_version_loads(tmp_path):
    """Each masked class had a name of its own there, and masks lay under `_masks`."""
    model = m.load_model(str(OLD))
    np.testing.assert_allclose(
        np.array(model(X)),
        [[-0.7012062072753906, 1.0869805812835693], [-0.7063015103340149, 1.086803913116455]],
        rtol=1e-5,
    )
    assert [int(mask.sum()) for mask in m.get_masks(model).values()] == [
        *(10, 10, 15, 8, 15, 6, 17, 5, 5, 2)
    ]
    model.save(tmp_path / "again.keras")
    again = m.load_model(str(tmp_path / "again.keras"))
    np.testing.assert_array_equal(np.array(again(X)), np.array(model(X)))
    assert same_masks(model, again)
    before = np.array(model(X))
    np.testing.assert_array_equal(np.array(m.strip_masks(model)(X)), before)


@keras.saving.register_keras_serializable(package="growing")
class Own(L.Dense):
    """A layer of a user's that Keras knows."""


def test_loading_again_and_again_registers_nothing_more(tmp_path):
    masked(sequential(Own(2, name="o"), shape=(6, 4))).save(tmp_path / "model.keras")
    m.load_model(str(tmp_path / "model.keras"))
    known = set(keras.saving.get_custom_objects())
    assert "lth_tf>MaskedOwn" in known
    m.load_model(str(tmp_path / "model.keras"), custom_objects={"Own": Own})
    assert set(keras.saving.get_custom_objects()) == known


@pytest.mark.parametrize("build", [attention, bidirectional, separable])
@pytest.mark.parametrize("kind", ["m.keras", "m.h5", "m.weights.h5", "checkpoint"])
# Keras says that .h5 is its old format.
@pytest.mark.filterwarnings("ignore:.*HDF5")
def test_every_format(build, kind, tmp_path):
    model = masked(build())
    model.compile("adam", "mse")
    model.fit(X, np.ones((2, *model.output_shape[1:])), verbose=0)
    path = str(tmp_path / kind)
    if kind == "checkpoint":
        path = tf.train.Checkpoint(model=model).save(path)
        loaded = m.mask_model(build())
        status = tf.train.Checkpoint(model=loaded).restore(path)
        status.assert_existing_objects_matched()
    elif kind == "m.weights.h5":
        model.save_weights(path)
        loaded = m.mask_model(build())
        loaded.load_weights(path)
    else:
        model.save(path)
        loaded = keras.models.load_model(path, compile=False)
    assert same_masks(model, loaded)
    np.testing.assert_allclose(np.array(loaded(X)), np.array(model(X)), rtol=1e-6, atol=1e-7)
    assert_obeys_masks(loaded, X, m.get_masks(model))


def test_training_goes_on_from_a_checkpoint_with_its_zeros(tmp_path):
    def new():
        model = m.mask_model(attention())
        model.compile("adam", "mse")
        model.optimizer.build(model.trainable_variables)
        return model

    model = masked(new())
    model.fit(X, np.ones((2, 6, 2)), verbose=0)
    checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer)
    path = tf.train.CheckpointManager(checkpoint, str(tmp_path), 1).save()
    other = new()
    restored = tf.train.Checkpoint(model=other, optimizer=other.optimizer).restore(path)
    restored.assert_consumed()
    other.fit(X, np.ones((2, 6, 2)), epochs=3, verbose=0)
    assert_obeys_masks(other, X, m.get_masks(model))


def blocks():
    def block(package, activation):
        @keras.saving.register_keras_serializable(package=package)
        class Block(L.Layer):
            def __init__(self, units, **kwargs):
                super().__init__(**kwargs)
                self.units = units
                self.d = L.Dense(units, name="d")

            def build(self, shape):
                self.d.build(shape)

            def call(self, x):
                return activation(self.d(x))

        return Block

    encoder, decoder = block("encoder", keras.ops.relu), block("decoder", keras.ops.tanh)
    return sequential(encoder(5, name="a"), decoder(3, name="b"), shape=(6, 4))


def own_dense():
    @keras.saving.register_keras_serializable(package="mine")
    class Dense(L.Layer):
        def __init__(self, units, **kwargs):
            super().__init__(**kwargs)
            self.units = units

        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], self.units), name="w")

        def call(self, x):
            return keras.ops.tanh(x @ self.w)

    return sequential(Dense(5, name="own"), L.Dense(2, name="std"), shape=(6, 4))


@pytest.mark.parametrize("build", [blocks, own_dense])
@pytest.mark.parametrize("way", ["load", "keras", "clone"])
def test_classes_of_one_name(build, way, tmp_path):
    model = masked(build())
    if way == "clone":
        loaded = keras.models.clone_model(model)
        loaded.set_weights(model.get_weights())
    else:
        model.save(tmp_path / "m.keras")
        load = m.load_model if way == "load" else keras.models.load_model
        loaded = load(str(tmp_path / "m.keras"))
    classes = [layer._original_class for layer in loaded.layers]
    assert classes == [layer._original_class for layer in model.layers]
    np.testing.assert_array_equal(np.array(loaded(X)), np.array(model(X)))
    assert same_masks(model, loaded)


def test_unregistered_class_is_cloned():
    class Plain(L.Dense):
        pass

    model = masked(sequential(Plain(3, name="p"), shape=(6, 4)))
    assert list(m.get_masks(keras.models.clone_model(model))) == ["p/kernel"]


def test_own_saving_code_is_left_in_peace(tmp_path):
    @keras.saving.register_keras_serializable(package="tests")
    class OwnStore(L.Layer):
        def build(self, shape):
            self.w = self.add_weight(shape=(shape[-1], 3), name="w")

        def call(self, x):
            return x @ self.w

        def save_own_variables(self, store):
            store["w"] = self.w

        def load_own_variables(self, store):
            self.w.assign(store["w"])

    model = masked(sequential(OwnStore(name="o"), shape=(6, 4)))
    model.save(tmp_path / "m.keras")
    loaded = m.load_model(str(tmp_path / "m.keras"))
    np.testing.assert_array_equal(np.array(loaded(X)), np.array(model(X)))


@pytest.mark.parametrize(
    "config, message",
    [
        ({"layer": "Dense", "masked_weights": [0]}, "Expected the description of a layer"),
        ({"layer": None, "masked_weights": [0]}, "Expected the description of a layer"),
        ({"masked_weights": "0"}, "Expected the description of a layer"),
    ],
)
def test_damaged_descriptions(config, message):
    with pytest.raises(UsageError, match=message):
        keras.saving.deserialize_keras_object(
            {"class_name": "x", "registered_name": "lth_tf>Masked", "module": "", "config": config}
        )


LORA = {
    "Dense": lambda: sequential(L.Dense(5, name="l"), L.Dense(2, name="o"), shape=(6, 4)),
    "EinsumDense": lambda: sequential(
        L.EinsumDense("abc,cd->abd", (None, 5), name="l"), L.Dense(2, name="o"), shape=(6, 4)
    ),
    "Conv1D": lambda: sequential(L.Conv1D(5, 2, name="l"), L.Dense(2, name="o"), shape=(6, 4)),
    "Embedding": lambda: sequential(
        L.Flatten(), L.Embedding(9, 5, name="l"), L.Dense(2, name="o"), shape=(6, 4)
    ),
}


@pytest.mark.parametrize("kind", LORA)
@pytest.mark.parametrize("first", ["mask", "lora"])
def test_lora_adds_dense_adapters_to_a_masked_weight(kind, first, tmp_path):
    model = LORA[kind]()
    if first == "mask":
        masked(model)
    model.get_layer("l").enable_lora(2)
    masked(model)
    masks = m.get_masks(model)
    assert [path.split("/")[0] for path in masks] == ["l", "o"]
    base = next(path for path in masks if path.startswith("l/"))
    model.compile("adam", "mse")
    start = stored_value(m.weight_variables(model)[base])
    model.fit(X, np.ones_like(np.array(model(X))), epochs=3, verbose=0)
    np.testing.assert_array_equal(stored_value(m.weight_variables(model)[base]), start)
    after = np.array(model(X))
    assert_obeys_masks(model, X, masks)
    model.save(tmp_path / "m.keras")
    loaded = m.load_model(str(tmp_path / "m.keras"))
    np.testing.assert_allclose(np.array(loaded(X)), after, rtol=1e-6, atol=1e-6)
    assert same_masks(model, loaded)
    np.testing.assert_array_equal(np.array(m.strip_masks(model)(X)), after)


@pytest.mark.parametrize("mode", ["int8", "int4"])
# Keras says of layers that have no int8 form, and reads arrays by numpy's old protocol.
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_quantized_models_keep_their_zeros(mode):
    def build():
        keras.utils.set_random_seed(0)
        return sequential(L.Dense(8, name="h"), L.LSTM(3), L.Dense(2), shape=(6, 4))

    model, plain = masked(build()), m.strip_masks(masked(build()))
    mask, before = m.get_masks(model)["h/kernel"], np.array(model(X))
    model.quantize(mode)
    plain.quantize(mode)
    layer = model.get_layer("h")
    assert type(layer) is L.Dense and layer.quantization_mode == mode
    assert "h/kernel" not in m.get_masks(model)
    np.testing.assert_array_equal(np.array(model(X)), np.array(plain(X)))
    np.testing.assert_allclose(np.array(model(X)), before, atol=0.2)
    kernel = np.array(layer(np.eye(4, dtype=np.float32)))
    assert not kernel[mask == 0].any() and kernel[mask == 1].any()


@pytest.mark.parametrize("mode", ["float8", "gptq"])
@pytest.mark.filterwarnings("ignore:Layer .* does not have a `quantize`")
def test_other_quantization_is_refused_and_changes_nothing(mode):
    model = masked(sequential(L.Dense(8, name="h"), shape=(6, 4)))
    masks, before = m.get_masks(model), np.array(model(X))
    with pytest.raises((UsageError, ValueError), match="mode|config"):
        model.quantize(mode)
    np.testing.assert_array_equal(np.array(model(X)), before)
    np.testing.assert_array_equal(m.get_masks(model)["h/kernel"], masks["h/kernel"])


def test_keras_alone_loads_a_masked_file_after_importing_masking(tmp_path):
    model = masked(attention())
    model.save(tmp_path / "m.keras")
    code = (
        "import keras, lth_tf.masking.model as m;"
        f"print(len(m.get_masks(keras.models.load_model({str(tmp_path / 'm.keras')!r}))))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "5\n"
