"""Clustering and quantization-aware training keep every zero, in a process of their own."""

import sys

import keras
import numpy as np
import pytest
from keras import layers

from export.finetuning.finetune import cluster_weights, quantization_aware
from export.saved_model.coding import encode
from export.signature import predict, signature_of
from export.size import kernels
from lth_tf.errors import UsageError
from tests.export.small_tickets import digits as small_digits
from tests.export.small_tickets import ticket


def accuracy(model, inputs, labels):
    outputs = predict(signature_of(model), model, {"inputs": inputs})["outputs"]
    return np.mean(outputs.argmax(-1) == labels)


def same_zeros(one, other):
    return all(
        ((a.numpy() != 0) | (b.numpy() == 0)).all()
        for a, b in zip(kernels(one), kernels(other), strict=True)
    )


@pytest.fixture
def train(digits):
    return digits.train.images / np.float32(255), digits.train.labels


def test_clusters_and_zeros_survive_quantization_awareness(lenet, train):
    trained = lenet(5)
    model = quantization_aware(trained.model, *train, clusters=8, epochs=1)
    assert same_zeros(trained.model, model)
    for kernel in kernels(model):
        values = np.unique(kernel)
        assert 2 < len(values) <= 8
        steps = values / (np.abs(values).max() / 127)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)
    before = accuracy(trained.model, trained.images, trained.labels)
    assert accuracy(model, trained.images, trained.labels) > before - 0.03
    assert "tensorflow_model_optimization" not in sys.modules
    assert encode([kernel.numpy() for kernel in kernels(model)], "float32").numbers_are == "indices"


@pytest.mark.slow
def test_clustering_alone(lenet, train):
    trained = lenet(5)
    model = cluster_weights(trained.model, *train, clusters=8, epochs=1)
    assert same_zeros(trained.model, model)
    assert all(2 < len(np.unique(kernel)) <= 8 for kernel in kernels(model))


@pytest.mark.slow
def test_quantization_awareness_alone(lenet, train):
    trained = lenet(5)
    model = quantization_aware(trained.model, *train, epochs=1)
    assert same_zeros(trained.model, model)
    for kernel in kernels(model):
        steps = kernel.numpy() / (np.abs(kernel.numpy()).max() / 127)
        np.testing.assert_allclose(steps, np.rint(steps), atol=1e-3)


@pytest.mark.slow
@pytest.mark.parametrize(("name", "density"), [("conv6", 0.03), ("resnet18", 0.05)])
@pytest.mark.parametrize("clusters", [0, 16])
def test_convolutional_networks(name, density, clusters):
    model, (images, labels) = ticket(name, density), small_digits(name)
    trained = quantization_aware(model, images, labels, clusters=clusters, epochs=1)
    assert same_zeros(model, trained)
    assert accuracy(trained, images, labels) > accuracy(model, images, labels) - 0.05


def test_a_layer_that_tf_keras_does_not_have():
    inputs = keras.Input((4,))
    model = keras.Model(inputs, layers.RMSNormalization(name="norm")(layers.Dense(3)(inputs)))
    with pytest.raises(UsageError, match="fine-tune.*tf_keras has no layer like 'norm'"):
        cluster_weights(model, np.ones((8, 4), np.float32), np.zeros(8, int))
