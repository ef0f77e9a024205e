"""compact: the same output from fewer units, at every corner where it could go wrong."""

import keras
import numpy as np
import pytest
from keras import layers

from export.compaction.compact import compact
from lth_tf.errors import UsageError
from lth_tf.masking.model import mask_model
from tests.export.hand_built import difference, edit, kernels, randomize, sequential
from tests.export.small_tickets import as_float64, digits, ticket

RELU = {"activation": "relu"}


@pytest.fixture(autouse=True)
def seeded():
    keras.utils.set_random_seed(0)


@pytest.mark.parametrize(
    ("name", "density"),
    [("lenet", 0.2), ("lenet", 0.02), ("conv2", 0.02), ("conv6", 0.01), ("resnet18", 0.004)]
    + [pytest.param("vgg19", 0.003, marks=pytest.mark.slow)],
)
def test_trained_networks(name, density):
    model = ticket(name, density)
    before = [weight.numpy() for weight in model.weights]
    small = compact(model)
    images, _ = digits(name)
    expected, received = model.predict(images, verbose=0), small.predict(images, verbose=0)
    np.testing.assert_allclose(received, expected, rtol=1e-4, atol=1e-4)
    assert np.array_equal(received.argmax(1), expected.argmax(1))
    assert difference(model, compact(as_float64(model))) < 1e-9
    assert all(np.array_equal(a, b.numpy()) for a, b in zip(before, model.weights, strict=True))
    assert small.name == model.name
    if density < 0.2:
        assert small.count_params() < model.count_params()


def test_loads_with_plain_keras(tmp_path):
    small = compact(ticket("resnet18", 0.004))
    small.save(tmp_path / "small.keras")
    images, _ = digits("resnet18")
    loaded = keras.models.load_model(tmp_path / "small.keras", safe_mode=True)
    assert np.array_equal(loaded(images[:5]), small(images[:5]))


def test_unused_and_constant_units_go_to_a_fixed_point():
    model = sequential(
        (3,), layers.Dense(4, **RELU), layers.Dense(5, **RELU), layers.Dense(2, name="out")
    )
    first, second, out = model.layers
    edit(first, kernel=(np.s_[:, 0], 0), bias=(0, 2.0))  # constant 2
    edit(first, bias=(1, 3.0))
    edit(second, kernel=(np.s_[1:, 0], 0))  # sees only the constant: constant too
    edit(second, kernel=(np.s_[1], 0))  # unit 1 of first is read by unit 1 of second alone,
    edit(second, kernel=((1, 1), 1.0))
    edit(out, kernel=(1, 0))  # which nothing reads
    small = compact(model)
    assert [layer.units for layer in small.layers] == [2, 3, 2]
    assert isinstance(small, keras.Sequential)
    assert difference(model, small) < 1e-6


def test_a_constant_passes_through_the_activation():
    for activation in ("relu", "tanh", "sigmoid", "leaky_relu", "gelu", "exponential"):
        model = sequential((3,), layers.Dense(4, activation=activation), layers.Dense(2))
        edit(model.layers[0], kernel=(np.s_[:, 2], 0), bias=(2, -0.7))
        small = compact(model)
        assert small.layers[0].units == 3
        assert difference(model, small) < 1e-6


def test_activation_layers():
    for activation in (layers.ReLU(max_value=1.0), layers.LeakyReLU(0.3), layers.ELU()):
        model = sequential((3,), layers.Dense(4), activation, layers.Dense(2))
        edit(model.layers[0], kernel=(np.s_[:, 2], 0), bias=(2, -0.7))
        small = compact(model)
        assert small.layers[0].units == 3
        assert difference(model, small) < 1e-6


@pytest.mark.parametrize("softmax", [layers.Softmax(), layers.Activation("softmax")])
def test_softmax_mixes_units(softmax):
    model = sequential((3,), layers.Dense(4), softmax, layers.Dense(2))
    edit(model.layers[0], kernel=(np.s_[:, 2], 0))
    edit(model.layers[2], kernel=(1, 0))
    small = compact(model)
    assert small.layers[0].units == 4
    assert difference(model, small) < 1e-6


def test_softmax_as_the_activation_of_a_layer():
    model = sequential((3,), layers.Dense(4, activation="softmax"), layers.Dense(2))
    edit(model.layers[0], kernel=(np.s_[:, 2], 0))
    edit(model.layers[1], kernel=(1, 0))
    assert compact(model).layers[0].units == 4
    assert difference(model, compact(model)) < 1e-6


@pytest.mark.parametrize(
    ("constant", "options", "kept"),
    [
        (0.8, {"padding": "same"}, 4),  # less of it at the border
        (-0.8, {"padding": "same"}, 3),  # 0 behind the ReLU
        (0.8, {"padding": "valid"}, 3),
        (0.8, {"padding": "same", "kernel_size": 1}, 3),
        (0.8, {"padding": "same", "kernel_size": 1, "strides": 2}, 3),
        (0.8, {"padding": "same", "kernel_size": 2, "strides": 2}, 3),  # 6 = 3 * 2: no border
        (0.8, {"padding": "same", "kernel_size": 3, "strides": 3}, 3),
        (0.8, {"padding": "same", "kernel_size": 2, "dilation_rate": 2}, 4),
    ],
)
def test_a_constant_channel_before_a_convolution(constant, options, kept):
    second = layers.Conv2D(**{"filters": 2, "kernel_size": 3, **options})
    model = sequential((6, 6, 1), layers.Conv2D(4, 3, padding="same", **RELU), second)
    edit(model.layers[0], kernel=(np.s_[..., 1], 0), bias=(1, constant))
    small = compact(model)
    assert small.layers[0].filters == kept
    assert difference(model, small) < 1e-5


def test_unknown_image_size_counts_as_a_border():
    model = sequential(
        (None, None, 1), layers.Conv2D(4, 3, **RELU), layers.Conv2D(2, 2, 2, padding="same")
    )
    edit(model.layers[0], kernel=(np.s_[..., 1], 0), bias=(1, 0.8))
    small = compact(model)
    assert small.layers[0].filters == 4
    images = np.random.default_rng(0).normal(size=(2, 7, 9, 1))
    np.testing.assert_allclose(small(images), model(images), atol=1e-5)


@pytest.mark.parametrize(
    "pool",
    [
        layers.MaxPooling2D(3, 2, padding="same"),
        layers.AveragePooling2D(3, 2, padding="same"),
        layers.GlobalAveragePooling2D(),
        layers.GlobalMaxPooling2D(),
        layers.GlobalAveragePooling2D(keepdims=True),
    ],
)
def test_a_constant_channel_passes_pooling_and_flatten(pool):
    model = sequential(
        (5, 5, 2), layers.Conv2D(4, 3, **RELU), pool, layers.Flatten(), layers.Dense(3)
    )
    edit(model.layers[0], kernel=(np.s_[..., 1], 0), bias=(1, 0.8))
    small = compact(model)
    assert small.layers[0].filters == 3
    assert difference(model, small) < 1e-5


def test_flatten_needs_every_position_of_a_channel_unread():
    model = sequential((4, 4, 1), layers.Conv2D(3, 3), layers.Flatten(), layers.Dense(2))
    read = model.layers[2].kernel.numpy().reshape(2, 2, 3, 2)
    read[:, :, 0] = 0
    read[0, :, 1] = 0
    model.layers[2].kernel.assign(read.reshape(12, 2))
    small = compact(model)
    assert list(kernels(small).values()) == [(3, 3, 1, 2), (8, 2)]
    assert difference(model, small) < 1e-5


def test_zero_padding_keeps_a_constant_that_is_not_zero():
    for constant, kept in ((0.8, 4), (-0.8, 3)):
        model = sequential(
            (5, 5, 1), layers.Conv2D(4, 3, **RELU), layers.ZeroPadding2D(), layers.Conv2D(2, 3)
        )
        edit(model.layers[0], kernel=(np.s_[..., 1], 0), bias=(1, constant))
        small = compact(model)
        assert small.layers[0].filters == kept
        assert difference(model, small) < 1e-5


def test_batch_normalization_turns_a_dead_filter_into_a_constant():
    model = sequential(
        (5, 5, 2),
        layers.Conv2D(4, 3, use_bias=False),
        layers.BatchNormalization(),
        layers.ReLU(),
        layers.Conv2D(3, 3, use_bias=False),
        layers.BatchNormalization(scale=False, center=False),
        layers.GlobalAveragePooling2D(),
        layers.Dense(2),
    )
    conv, norm = model.layers[:2]
    edit(conv, kernel=(np.s_[..., 1], 0))
    edit(norm, beta=(1, 1.3), moving_mean=(1, -0.4), moving_variance=(1, 0.7))
    edit(norm, gamma=(2, 0))  # constant beta whatever the filter computes
    small = compact(model)
    assert [layer.filters for layer in small.layers if hasattr(layer, "filters")] == [2, 3]
    assert small.layers[3].use_bias  # took in the constants
    assert difference(model, small) < 1e-5


def test_depthwise_convolution():
    model = sequential(
        (6, 6, 2),
        layers.Conv2D(5, 3, **RELU),
        layers.DepthwiseConv2D(3, padding="same", **RELU),
        layers.Conv2D(2, 1),
        layers.GlobalAveragePooling2D(),
    )
    first, depthwise, last = model.layers[:3]
    edit(first, kernel=(np.s_[..., 0], 0), bias=(0, 0.9))  # constant before a border: stays
    edit(depthwise, kernel=(np.s_[:, :, 1], 0))  # constant behind it
    edit(last, kernel=(np.s_[:, :, 2], 0))  # unread
    small = compact(model)
    assert list(kernels(small).values()) == [(3, 3, 2, 3), (3, 3, 3, 1), (1, 1, 3, 2)]
    assert difference(model, small) < 1e-5


def test_depthwise_with_two_filters_a_channel_is_a_barrier():
    model = sequential(
        (6, 6, 2), layers.Conv2D(3, 3), layers.DepthwiseConv2D(3, depth_multiplier=2)
    )
    edit(model.layers[0], kernel=(np.s_[..., 0], 0))
    small = compact(model)
    assert small.layers[0].filters == 3
    assert difference(model, small) < 1e-5


def residual(branch_bias: bool = True) -> keras.Model:
    inputs = keras.Input((6, 6, 3))
    stem = layers.Conv2D(4, 3, padding="same", activation="relu", name="stem")(inputs)
    x = layers.Conv2D(5, 3, padding="same", activation="relu", name="one")(stem)
    x = layers.Conv2D(4, 3, padding="same", use_bias=branch_bias, name="two")(x)
    x = layers.Add(name="add")([x, stem])
    x = layers.ReLU(name="relu")(x)
    x = layers.Conv2D(3, 3, padding="same", name="last")(x)
    model = keras.Model(inputs, layers.GlobalAveragePooling2D(name="pool")(x))
    randomize(model)
    return model


def test_a_channel_dead_in_one_branch_stays():
    model = residual()
    edit(model.get_layer("two"), kernel=(np.s_[..., 1], 0), bias=(1, 0.0))
    small = compact(model)
    assert kernels(small)["two"] == (3, 3, 5, 4)
    assert difference(model, small) < 1e-5


def test_a_channel_dead_in_both_branches_goes():
    model = residual()
    for name in ("two", "stem"):
        edit(model.get_layer(name), kernel=(np.s_[..., 1], 0), bias=(1, 0.0))
    edit(model.get_layer("one"), kernel=(np.s_[:, :, 1], 0))
    small = compact(model)
    assert kernels(small) == {
        "stem": (3, 3, 3, 3),
        "one": (3, 3, 3, 5),
        "two": (3, 3, 5, 3),
        "last": (3, 3, 3, 3),
    }
    assert difference(model, small) < 1e-5


def test_a_channel_unread_behind_the_sum_frees_what_feeds_it():
    model = residual()
    edit(model.get_layer("last"), kernel=(np.s_[:, :, 1], 0))
    edit(model.get_layer("two"), kernel=(np.s_[:, :, 4, [0, 2, 3]], 0))  # 4 feeds channel 1 alone
    small = compact(model)
    # "one" reads channel 1 of the stem, so the sum keeps it; its own part of it is not needed.
    assert kernels(small)["one"] == (3, 3, 4, 4)
    assert kernels(small)["two"] == (3, 3, 4, 4)
    assert not small.get_layer("two").kernel.numpy()[..., 1].any()
    assert difference(model, small) < 1e-5


@pytest.mark.parametrize(("bias", "names"), [(False, {"stem", "last"}), (True, {"stem", "last"})])
def test_a_dead_branch_is_taken_out(bias, names):
    model = residual(bias)
    edit(model.get_layer("two"), kernel=(np.s_[:], 0))
    small = compact(model)
    assert set(kernels(small)) == names
    assert any("shift" in layer.name for layer in small.layers) == bias
    assert difference(model, small) < 1e-5


def test_a_branch_dead_behind_the_first_of_its_layers():
    model = residual()
    edit(model.get_layer("one"), kernel=(np.s_[:], 0), bias=(np.s_[:], -1.0))
    small = compact(model)
    assert set(kernels(small)) == {"stem", "last"}
    assert difference(model, small) < 1e-5


def test_a_branch_constant_but_not_at_the_border_stays_exact():
    model = residual()
    edit(model.get_layer("one"), kernel=(np.s_[:], 0), bias=(np.s_[:], 1.0))
    assert difference(model, compact(model)) < 1e-5


@pytest.mark.parametrize("constant", [-1.0, 1.0])
def test_a_dead_layer_is_an_error(constant):
    model = sequential((4,), layers.Dense(3, **RELU), layers.Dense(3, name="fc2"), layers.Dense(2))
    edit(model.get_layer("fc2"), kernel=(np.s_[:], 0), bias=(np.s_[:], constant))
    with pytest.raises(UsageError, match="layer 'fc2' has no unit left") as caught:
        compact(model)
    assert "\n" not in str(caught.value)


def test_a_dead_layer_before_a_border_is_an_error():
    model = sequential(
        (6, 6, 1), layers.Conv2D(3, 3, name="dead", **RELU), layers.Conv2D(2, 3, padding="same")
    )
    edit(model.get_layer("dead"), kernel=(np.s_[:], 0), bias=(np.s_[:], 1.0))
    with pytest.raises(UsageError, match="layer 'dead' has no unit left"):
        compact(model)


def test_masked_unbuilt_and_subclassed_models_are_errors():
    class Custom(keras.Model):
        def call(self, x):
            return x

    class Overridden(keras.Model):
        def call(self, x):
            return 2 * super().call(x)

    inputs = keras.Input((3,))
    with pytest.raises(UsageError, match="of class Overridden"):
        compact(Overridden(inputs, layers.Dense(2)(inputs)))
    custom = Custom()
    custom.build((None, 2))
    custom.built = True
    with pytest.raises(UsageError, match="without masks"):
        compact(mask_model(sequential((3,), layers.Dense(2))))
    with pytest.raises(UsageError, match="built model"):
        compact(keras.Sequential([layers.Dense(2)]))
    with pytest.raises(UsageError, match="Sequential or Functional"):
        compact(custom)


@keras.saving.register_keras_serializable("test_compact")
def test_several_inputs_and_outputs_keep_their_structure():
    one, two = keras.Input((3,), name="one"), keras.Input((2,), name="two")
    a = layers.Dense(4, name="a", **RELU)(one)
    b = layers.Dense(4, name="b", **RELU)(two)
    total = layers.Add()([a, b])
    outputs = {"sum": layers.Dense(2, name="c")(total), "a": layers.Dense(1, name="d")(a)}
    model = keras.Model({"one": one, "two": two}, outputs)
    randomize(model)
    edit(model.get_layer("c"), kernel=(2, 0))
    edit(model.get_layer("d"), kernel=(2, 0))
    small = compact(model)
    batch = {"one": np.ones((7, 3), "float32"), "two": np.ones((7, 2), "float32")}
    expected, received = model(batch), small(batch)
    assert kernels(small)["a"] == (3, 3) and kernels(small)["b"] == (2, 3)
    for name in ("sum", "a"):
        np.testing.assert_allclose(received[name], expected[name], rtol=1e-5)
