"""What a file will not do is said plainly."""

import keras
import numpy as np
from keras import layers

from export.formats import FORMATS
from export.tflite.speed_caveats import speed_caveats


def dense(density, units=400):
    model = keras.Sequential([keras.Input((units,)), layers.Dense(units, name="fc")])
    kernel = np.zeros(units**2)
    kernel[: round(units**2 * density)] = 1
    model.set_weights([kernel.reshape(units, units), np.zeros(units)])
    return model


def test_a_sparse_dense_layer_is_faster_in_float32_tflite_only():
    assert speed_caveats(dense(0.05), "float32") == []
    assert "not faster" in speed_caveats(dense(0.05), "float16")[0]
    assert "not faster" in speed_caveats(dense(0.05), "int8")[0]
    assert "not faster" in FORMATS.get("saved_model").speed_caveats(dense(0.05), "float32")[0]


def test_a_denser_layer_is_named():
    (note,) = speed_caveats(dense(0.07), "float32")
    assert "smaller, not faster: fc (7.0 %; faster below 6 %)." in note


def test_a_small_layer_is_named_at_a_lower_density():
    (note,) = speed_caveats(dense(0.05, units=100), "float32")
    assert "smaller, not faster: fc (5.0 %; faster below 1.2 %)." in note


def test_convolutions():
    model = keras.Sequential([keras.Input((8, 8, 1)), layers.Conv2D(2, 3)])
    (note,) = speed_caveats(model, "float32")
    assert "zeros make a network with convolutions smaller, not faster" in note


def test_int8_dense_layers_in_batches():
    assert "slower for a batch" in speed_caveats(dense(0.01), "int8")[1]


def test_a_keras_file_is_not_even_smaller():
    (note,) = FORMATS.get("keras").speed_caveats(dense(0.01), "float32")
    assert "neither smaller nor faster" in note
