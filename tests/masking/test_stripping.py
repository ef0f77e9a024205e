"""strip: a plain copy that computes the same."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks, mask_model, set_masks
from lth_tf.masking.stripping import save_stripped, strip


def masked(model):
    """Masks every second weight of a model."""
    mask_model(model)
    halves = {
        path: np.resize([0, 1], mask.shape).astype(np.uint8)
        for path, mask in get_masks(model).items()
    }
    set_masks(model, halves)
    return model


@pytest.fixture
def network():
    return masked(
        keras.Sequential(
            [
                keras.Input((8, 8, 2)),
                layers.Conv2D(4, 3),
                layers.BatchNormalization(),
                layers.Flatten(),
                layers.Dense(3),
            ]
        )
    )


def test_gives_back_the_original_classes_and_leaves_the_model_alone(network):
    plain = strip(network)
    assert [type(layer) for layer in plain.layers] == [
        layers.Conv2D,
        layers.BatchNormalization,
        layers.Flatten,
        layers.Dense,
    ]
    assert len(get_masks(network)) == 2
    assert get_masks(plain) == {}


def test_folds_masks_into_weights_and_computes_the_same(network):
    inputs = np.random.default_rng(0).normal(size=(5, 8, 8, 2)).astype(np.float32)
    network.layers[0]._kernel.assign(np.ones((3, 3, 2, 4)))  # pruned weights are stored too
    plain = strip(network)
    np.testing.assert_array_equal(plain(inputs), network(inputs))
    assert np.count_nonzero(plain.layers[0].kernel) == 36


def test_a_model_without_masks_is_copied():
    model = keras.Sequential([keras.Input((3,)), layers.Dense(2)])
    plain = strip(model)
    assert plain is not model
    np.testing.assert_array_equal(plain.layers[0].kernel, model.layers[0].kernel)


class Scaled(layers.Layer):
    """A layer of the user's own that Keras does not know by name."""

    def __init__(self, factor, **kwargs):
        super().__init__(**kwargs)
        self.factor = factor

    def build(self, input_shape):
        self.kernel = self.add_weight(name="kernel", shape=(input_shape[-1], 2))

    def call(self, inputs):
        return self.factor * inputs @ self.kernel

    def get_config(self):
        return {**super().get_config(), "factor": self.factor}


def test_layers_of_the_users_own():
    model = masked(keras.Sequential([keras.Input((3,)), Scaled(2.0)]))
    plain = strip(model)
    assert type(plain.layers[0]) is Scaled
    inputs = np.ones((1, 3), np.float32)
    np.testing.assert_array_equal(plain(inputs), model(inputs))


def test_a_model_that_is_not_built():
    with pytest.raises(UsageError, match="built model"):
        strip(keras.Sequential([layers.Dense(2)]))


@pytest.mark.parametrize("include_optimizer", [False, True])
def test_a_plain_file_with_or_without_the_optimizer(tmp_path, include_optimizer):
    model = keras.Sequential([keras.Input((6,)), keras.layers.Dense(3, name="fc")])
    mask_model(model)
    model.compile("adam", "mse")
    inputs = np.random.default_rng(0).normal(size=(16, 6)).astype("float32")
    set_masks(model, {"fc/kernel": np.arange(18).reshape(6, 3) % 2})
    model.fit(inputs, inputs[:, :3], verbose=0)
    file = save_stripped(model, tmp_path / "plain.keras", include_optimizer=include_optimizer)
    loaded = keras.models.load_model(file)
    assert type(loaded.layers[-1]) is keras.layers.Dense
    np.testing.assert_array_equal(loaded(inputs), model(inputs))
    assert (np.asarray(loaded.layers[-1].kernel) == 0).sum() == 9
    assert (getattr(loaded, "optimizer", None) is not None) == include_optimizer
    assert sorted(get_masks(model)) == ["fc/kernel"]
