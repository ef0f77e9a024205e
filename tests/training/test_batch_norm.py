"""Batch normalization as the Trainer computes it, beside Keras's own."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from sklearn.datasets import load_digits

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import from_arrays
from lth_tf.masking.model import get_weights, mask_model
from lth_tf.training.batch_norm import normalizing_by
from lth_tf.training.trainer import Trainer

IMAGES = np.random.default_rng(0).normal(3, 2, (4, 2, 2, 3))
TARGET = np.random.default_rng(1).normal(size=IMAGES.shape)


def differentiated(way, dtype="float64", inputs=IMAGES, **arguments):
    """Returns gradients of the inputs, gamma and beta, outputs, and the moving statistics."""
    layer = L.BatchNormalization(momentum=0.9, dtype=dtype, **arguments)
    inputs = tf.constant(inputs, dtype)
    model = keras.Sequential([keras.Input(inputs.shape[1:], dtype=dtype), layer])
    layer.set_weights([v + 0.3 * i for i, v in enumerate(layer.get_weights())])
    with tf.GradientTape() as tape:
        tape.watch(inputs)
        if way == "keras":
            outputs = model(inputs, training=True)
        else:
            with normalizing_by(model, way):
                outputs = model(inputs, training=True)
        loss = tf.reduce_sum(outputs * TARGET[: len(outputs)].reshape(outputs.shape))
    gradients = tape.gradient(loss, [inputs, *layer.trainable_variables])
    statistics = layer.non_trainable_variables
    return [np.asarray(a, "float64") for a in (*gradients, outputs, *statistics)]


@pytest.mark.parametrize(
    "arguments",
    [{}, {"scale": False}, {"center": False}, {"epsilon": 0.5}, {"inputs": IMAGES.reshape(4, 12)}],
    ids=["images", "no gamma", "no beta", "epsilon", "vectors"],
)
def test_the_closed_form_is_the_gradient_of_the_operations(arguments):
    expected = differentiated("keras", **arguments)
    found = differentiated("exact", **arguments)
    assert len(found) == len(expected)
    for ours, keras_own in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-10, atol=1e-10)


def test_a_batch_of_two_numbers():
    # Mean 2, variance 1: normalized to -1 and 1; only the part of the gradient that neither
    # moves nor stretches the batch goes on, and two numbers have none.
    layer = L.BatchNormalization(epsilon=0.0, momentum=0.5)
    model = keras.Sequential([keras.Input((1,)), layer])
    inputs = tf.constant([[1.0], [3.0]])
    with tf.GradientTape() as tape, normalizing_by(model, "exact"):
        tape.watch(inputs)
        outputs = model(inputs, training=True)
        loss = tf.reduce_sum(outputs * [[1.0], [5.0]])
    of_inputs, of_gamma, of_beta = tape.gradient(
        loss, [inputs, layer.gamma.value, layer.beta.value]
    )
    np.testing.assert_allclose(outputs, [[-1], [1]])
    np.testing.assert_allclose(of_inputs, [[0], [0]], atol=1e-6)
    np.testing.assert_allclose((of_gamma, of_beta), [[4], [6]])
    np.testing.assert_allclose(layer.moving_mean, [1])
    np.testing.assert_allclose(layer.moving_variance, [1])


def test_the_fused_kernel_keeps_the_variance_of_the_batch():
    # 16 numbers a channel: an estimate of the population's variance is larger by 1 / 15.
    for ours, keras_own in zip(
        differentiated("fused", "float32"), differentiated("keras"), strict=True
    ):
        np.testing.assert_allclose(ours, keras_own, rtol=1e-3, atol=1e-4)


def test_half_precision_is_normalized_in_float32():
    model = keras.Sequential([keras.Input((2, 2, 3)), L.BatchNormalization(dtype="mixed_bfloat16")])
    for way in ("exact", "fused"):
        with normalizing_by(model, way):
            outputs = model(IMAGES.astype("float32"), training=True)
        assert keras.backend.standardize_dtype(outputs.dtype) == "bfloat16"
        np.testing.assert_allclose(np.asarray(outputs, "float32").mean((0, 1, 2)), 0, atol=1e-2)


class Own(L.BatchNormalization):
    """Does something of its own."""

    def call(self, inputs, **_):
        return inputs + 1.0


def test_what_is_not_kerass_is_left_alone():
    frozen = L.BatchNormalization(trainable=False, name="frozen")
    renormalized = L.BatchNormalization(renorm=True, name="renormalized")
    for layer in (Own(), frozen, renormalized):
        model = keras.Sequential([keras.Input((2, 2, 3)), layer])
        weights = layer.get_weights()
        expected = model(IMAGES.astype("float32"), training=True)
        layer.set_weights(weights)
        with normalizing_by(model, "exact"):
            found = model(IMAGES.astype("float32"), training=True)
        np.testing.assert_array_equal(found, expected)


def test_layers_are_themselves_again_afterwards():
    layer = L.BatchNormalization()
    model = keras.Sequential([keras.Input((3,)), layer])
    with pytest.raises(ZeroDivisionError), normalizing_by(model, "exact"):
        raise ZeroDivisionError
    assert "call" not in vars(layer)


def test_the_flag_reaches_the_training():
    inputs, labels = load_digits(return_X_y=True)
    data = from_arrays(inputs.reshape(-1, 8, 8, 1) / 16, labels)
    config = ExperimentConfig(
        iterations=10, batch_size=20, eval_interval=10, optimizer="momentum", learning_rate=0.05
    )
    found = {}
    for way in ("exact", "fused"):
        keras.utils.set_random_seed(0)
        model = keras.Sequential(
            [
                keras.Input((8, 8, 1)),
                L.Conv2D(4, 3, use_bias=False, name="conv"),
                L.BatchNormalization(name="bn"),
                L.Flatten(),
                L.Dense(10, name="output"),
            ]
        )
        mask_model(model)
        trainer = Trainer(model, data, dataclasses.replace(config, batch_norm=way))
        for _ in trainer.evaluations():
            pass
        found[way] = get_weights(model)["conv/kernel"]
    np.testing.assert_allclose(found["exact"], found["fused"], atol=1e-4)
    assert (found["exact"] != found["fused"]).any()
