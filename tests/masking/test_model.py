import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

import lth_tf.masking.model as m
from lth_tf.errors import UsageError
from lth_tf.masking.effective import pruned_are_zero


@keras.saving.register_keras_serializable(package="tests")
class Bilinear(L.Layer):
    """A layer of a user's own, with a private weight and a list-free build."""

    def build(self, shape):
        self._factor = self.add_weight(shape=(shape[-1], 3), name="factor")
        self.bias = self.add_weight(shape=(1, 3), name="bias")

    def call(self, inputs):
        return inputs @ self._factor + self.bias


class Subclassed(keras.Model):
    def __init__(self):
        super().__init__()
        self.first = L.Dense(4, name="first")
        self.second = L.Dense(2, name="second")

    def call(self, inputs):
        return self.second(self.first(inputs))


def dense(units=3):
    return keras.Sequential([keras.Input((4,)), L.Dense(units, name="fc")])


def nested():
    inner = keras.Sequential([keras.Input((4,)), L.Dense(5, name="deep")], name="inner")
    inputs = keras.Input((4,))
    return keras.Model(inputs, L.Dense(2, name="head")(inner(inputs)))


def images(*stack):
    return keras.Sequential([keras.Input((8, 8, 2)), *stack])


def sequence(*stack):
    return keras.Sequential([keras.Input((6, 4)), *stack])


def attention():
    inputs = keras.Input((6, 4))
    return keras.Model(inputs, L.MultiHeadAttention(2, 3, name="mha")(inputs, inputs))


MODELS = {
    "Dense": (dense, ["fc/kernel"]),
    "nested": (nested, ["inner/deep/kernel", "head/kernel"]),
    "Conv2D": (lambda: images(L.Conv2D(3, 3, name="c")), ["c/kernel"]),
    "Conv2DTranspose": (lambda: images(L.Conv2DTranspose(3, 3, name="c")), ["c/kernel"]),
    "DepthwiseConv2D": (lambda: images(L.DepthwiseConv2D(3, name="c")), ["c/kernel"]),
    "SeparableConv2D": (
        lambda: images(L.SeparableConv2D(3, 3, name="c")),
        ["c/depthwise_kernel", "c/pointwise_kernel"],
    ),
    "Conv1D": (lambda: sequence(L.Conv1D(3, 3, name="c")), ["c/kernel"]),
    "EinsumDense": (
        lambda: sequence(L.EinsumDense("abc,cd->abd", (None, 3), name="e")),
        ["e/kernel"],
    ),
    "LSTM": (
        lambda: sequence(L.LSTM(3, name="r")),
        ["r/lstm_cell/kernel", "r/lstm_cell/recurrent_kernel"],
    ),
    "GRU": (
        lambda: sequence(L.GRU(3, name="r")),
        ["r/gru_cell/kernel", "r/gru_cell/recurrent_kernel"],
    ),
    "Bidirectional": (lambda: sequence(L.Bidirectional(L.SimpleRNN(3), name="b")), 4),
    "TimeDistributed": (lambda: sequence(L.TimeDistributed(L.Dense(3, name="t"), name="d")), 1),
    "MultiHeadAttention": (attention, 4),
    "Embedding": (
        lambda: keras.Sequential([keras.Input((6,)), L.Embedding(9, 3, name="e")]),
        ["e/embeddings"],
    ),
    "custom": (lambda: sequence(Bilinear(name="b")), ["b/factor"]),
}


def inputs_for(model):
    random = np.random.default_rng(0)
    return random.integers(0, 9, (5, *model.input_shape[1:])).astype(np.float32)


def half(model, seed=0):
    random = np.random.default_rng(seed)
    return {
        k: (random.random(v.shape) < 0.5).astype(np.uint8) for k, v in m.get_masks(model).items()
    }


@pytest.mark.parametrize("name", MODELS)
class TestEveryLayer:
    def test_what_is_masked(self, name):
        build, expected = MODELS[name]
        masks = m.get_masks(m.mask_model(build()))
        if isinstance(expected, int):
            assert len(masks) == expected
        else:
            assert list(masks) == expected
        assert all((mask == 1).all() and mask.dtype == np.uint8 for mask in masks.values())

    def test_masking_changes_nothing_and_set_masks_takes_effect(self, name):
        model = MODELS[name][0]()
        x = inputs_for(model)
        before = np.array(model(x))
        m.mask_model(model)
        np.testing.assert_array_equal(np.array(model(x)), before)
        weights = m.get_weights(model)
        masks = half(model)
        m.set_masks(model, masks)
        # The plain model with zeros in its weights is the reference.
        plain = MODELS[name][0]()
        expected = {k: v * masks.get(k, 1) for k, v in weights.items()}
        for variable, value in zip(plain.weights, expected.values(), strict=True):
            variable.assign(value)
        np.testing.assert_allclose(np.array(model(x)), np.array(plain(x)), rtol=1e-6, atol=1e-6)
        assert np.abs(np.array(model(x)) - before).max() > 1e-3

    def test_gradient_of_pruned_weights_is_exactly_zero(self, name):
        model = m.mask_model(MODELS[name][0]())
        masks = half(model)
        m.set_masks(model, masks)
        with pruned_are_zero():
            promised = gradient(model)
        for gradients in (gradient(model), promised):
            found = {
                id(variable): tf.convert_to_tensor(value).numpy()
                for variable, value in zip(model.trainable_variables, gradients, strict=True)
            }
            for path, mask in masks.items():
                value = found[id(m.weight_variables(model)[path])]
                assert (value[mask == 0] == 0).all()
                assert (value[mask == 1] != 0).any()

    def test_saved_model_loads_with_its_masks(self, name, tmp_path):
        model = m.mask_model(MODELS[name][0]())
        m.set_masks(model, half(model))
        model.save(tmp_path / "model.keras")
        loaded = m.load_model(str(tmp_path / "model.keras"))
        x = inputs_for(model)
        np.testing.assert_array_equal(np.array(loaded(x)), np.array(model(x)))
        masks, found = m.get_masks(model), m.get_masks(loaded)
        assert list(found) == list(masks)
        for path in masks:
            np.testing.assert_array_equal(found[path], masks[path])
        loaded.save(tmp_path / "again.keras")
        assert list(m.get_masks(m.load_model(str(tmp_path / "again.keras")))) == list(masks)

    def test_strip_folds_the_masks_in(self, name):
        original = MODELS[name][0]()
        classes = [type(layer) for layer in original._flatten_layers()]
        model = m.mask_model(original)
        masks = half(model)
        m.set_masks(model, masks)
        x = inputs_for(model)
        before = np.array(model(x))
        count = len(model.weights)
        assert m.strip_masks(model) is model
        np.testing.assert_array_equal(np.array(model(x)), before)
        assert [type(layer) for layer in model._flatten_layers()] == classes
        assert len(model.weights) == count - len(masks)
        assert m.get_masks(model) == {}
        weights = m.get_weights(model)
        assert all((weights[path][mask == 0] == 0).all() for path, mask in masks.items())


def gradient(model):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(tf.square(model(inputs_for(model)) + 1.0))
    return tape.gradient(loss, model.trainable_variables)


def test_stripped_model_loads_without_this_library(tmp_path):
    model = m.mask_model(dense())
    m.set_masks(model, {"fc/kernel": np.eye(4, 3, dtype=np.uint8)})
    m.strip_masks(model).save(tmp_path / "plain.keras")
    code = (
        "import sys, keras; sys.modules['lth_tf'] = None;"
        f"model = keras.models.load_model({str(tmp_path / 'plain.keras')!r});"
        "print(int((model.layers[0].kernel.numpy() == 0).sum()), type(model.layers[0]).__name__)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["9", "Dense"]


def test_custom_class_loads_through_custom_objects(tmp_path):
    class Plain(L.Dense):
        pass

    model = m.mask_model(keras.Sequential([keras.Input((4,)), Plain(3, name="fc")]))
    model.save(tmp_path / "model.keras")
    loaded = m.load_model(str(tmp_path / "model.keras"), custom_objects={"Plain": Plain})
    assert list(m.get_masks(loaded)) == ["fc/kernel"]


def test_masking_twice_keeps_the_masks():
    model = m.mask_model(dense())
    m.set_masks(model, {"fc/kernel": np.eye(4, 3, dtype=np.uint8)})
    m.mask_model(model)
    assert m.get_masks(model)["fc/kernel"].sum() == 3


def test_subclassed_model():
    model = Subclassed()
    model(np.zeros((1, 3), np.float32))
    assert [mask.shape for mask in m.get_masks(m.mask_model(model)).values()] == [(3, 4), (4, 2)]


def test_batch_norm_and_biases_carry_no_masks():
    model = images(
        L.Conv2D(3, 3, name="c"),
        L.BatchNormalization(),
        L.PReLU(),
        L.LayerNormalization(axis=(1, 2, 3)),
    )
    assert list(m.get_masks(m.mask_model(model))) == ["c/kernel"]


@pytest.mark.parametrize(
    "skip, left",
    [
        (["deep"], ["head/kernel"]),
        (["inner"], ["head/kernel"]),
        (["head/kernel"], ["inner/deep/kernel"]),
        (lambda path: path.startswith("head"), ["inner/deep/kernel"]),
    ],
)
def test_skip(skip, left):
    assert list(m.get_masks(m.mask_model(nested(), skip=skip))) == left


def test_skip_survives_saving_inside_a_composed_layer(tmp_path):
    model = m.mask_model(attention(), skip=lambda path: "query" in path)
    model.save(tmp_path / "model.keras")
    loaded = m.load_model(str(tmp_path / "model.keras"))
    assert list(m.get_masks(loaded)) == list(m.get_masks(model))
    assert len(m.get_masks(loaded)) == 3


def test_fit_after_masking_a_compiled_model_uses_the_masks():
    model = dense()
    model.compile("sgd", "mse")
    x, y = np.ones((8, 4), np.float32), np.ones((8, 3), np.float32)
    model.fit(x, y, verbose=0)
    m.mask_model(model)
    mask = np.eye(4, 3, dtype=np.uint8)
    m.set_masks(model, {"fc/kernel": mask})
    model.fit(x, y, epochs=3, verbose=0)
    kernel = m.to_numpy(model.get_layer("fc")._kernel)
    assert (kernel[mask == 0] == 0).all()
    assert (kernel[mask == 1] != 0).all()


def test_mixed_precision():
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = m.mask_model(dense())
        m.set_masks(model, {"fc/kernel": np.zeros((4, 3), np.uint8)})
        assert (np.array(model(np.ones((2, 4), np.float32))) == 0).all()
    finally:
        keras.config.set_dtype_policy("float32")


def test_unbuilt_model_is_refused():
    with pytest.raises(UsageError, match="Expected a built model"):
        m.mask_model(keras.Sequential([L.Dense(3)]))


def test_model_without_weights_to_mask_is_refused():
    with pytest.raises(UsageError, match="Expected a model with at least one weight to mask"):
        m.mask_model(keras.Sequential([keras.Input((4,)), L.BatchNormalization()]))


def test_unknown_name_in_skip_is_refused():
    with pytest.raises(UsageError, match="Received: 'fc9', which model"):
        m.mask_model(dense(), skip=["fc9"])


@pytest.mark.parametrize(
    "masks, message",
    [
        ({}, "Expected a value for 'fc/kernel'"),
        ({"fc/kernel": np.ones((3, 4), np.uint8)}, r"Expected shape \(4, 3\)"),
        ({"fc/kernel": np.full((4, 3), 2, np.uint8)}, "Expected 0 or 1 in the mask"),
        ({"fc/kernel": np.full((4, 3), 0.5)}, "Expected 0 or 1 in the mask"),
    ],
)
def test_bad_masks_are_refused_and_change_nothing(masks, message):
    model = m.mask_model(dense())
    before = m.get_weights(model)
    with pytest.raises(ValueError, match=message):
        m.set_masks(model, masks)
    assert (m.get_masks(model)["fc/kernel"] == 1).all()
    np.testing.assert_array_equal(m.get_weights(model)["fc/kernel"], before["fc/kernel"])


def test_set_weights_multiplies_by_the_mask():
    model = m.mask_model(dense())
    mask = np.eye(4, 3, dtype=np.uint8)
    m.set_masks(model, {"fc/kernel": mask})
    m.set_weights(model, {"fc/kernel": np.full((4, 3), 7.0), "fc/bias": np.arange(3.0)})
    np.testing.assert_array_equal(m.get_weights(model)["fc/kernel"], 7.0 * mask)
    np.testing.assert_array_equal(m.get_weights(model)["fc/bias"], [0, 1, 2])
