import keras
import numpy as np
import pytest

from lth_tf import networks
from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks, get_weights
from lth_tf.networks import NETWORKS
from tests.small_runs import marked


def count(model, *groups):
    found = networks.groups(model)
    return sum(mask.size for path, mask in get_masks(model).items() if found[path] in groups)


@pytest.mark.parametrize(
    "name, conv, fc, output, unpruned",
    [
        ("lenet", 0, 265_200, 1_000, 0),
        ("conv2", 38_592, 4_259_840, 2_560, 0),
        ("conv4", 259_776, 2_162_688, 2_560, 0),
        ("conv6", 1_144_512, 1_114_112, 2_560, 0),
        ("resnet18", 267_696, 0, 640, 2_560),
        ("vgg19", 20_018_880, 0, 5_120, 0),
        ("resnet50", 20_686_016, 0, 20_480, 2_768_896),
        ("mlp", 0, 36_608, 1_280, 0),
        ("transformer", 0, 103_040, 640, 0),
    ],
)
def test_weight_counts(name, conv, fc, output, unpruned):
    model = networks.build(name, networks.image_shape(name), 10, seed=0)
    counts = [count(model, group) for group in ("conv", "fc", "output", "unpruned")]
    assert counts == [conv, fc, output, unpruned]


@pytest.mark.parametrize(
    "name, parameters",
    [("lenet", 266_610), ("conv2", 4_301_642), ("conv4", 2_425_930), ("conv6", 2_262_602)],
)
def test_parameter_counts_with_biases(name, parameters):
    model = networks.build(name, networks.image_shape(name), 10, seed=0)
    assert sum(value.size for value in get_weights(model).values()) == parameters


def test_resnet18_is_the_printed_274k():
    model = networks.build("resnet18", (32, 32, 3), 10, seed=0)
    weights = get_weights(model)
    assert sum(value.size for value in weights.values()) == 274_042
    channels = [value.size for path, value in weights.items() if path.endswith("gamma")]
    assert sum(channels) == 784


@pytest.mark.parametrize("name", marked(NETWORKS.names()))
def test_every_network(name):
    """What every network keeps to, a new one included."""
    shape = networks.image_shape(name)
    model = networks.build(name, shape, 7, seed=0)
    logits = model(np.zeros((2, *shape), np.float32))
    # One answer an example, or one a token.
    assert logits.shape == ((2, *shape, 7) if networks.takes(name) == "tokens" else (2, 7))
    assert [layer.name for layer in model.layers][-1] == "output"
    assert model.layers[-1].activation is keras.activations.linear
    assert "output/kernel" in get_masks(model)
    same, other = networks.build(name, shape, 7, seed=0), networks.build(name, shape, 7, seed=1)
    weights = get_weights(model)
    assert list(weights) == list(get_weights(other))
    np.testing.assert_array_equal(weights["output/kernel"], get_weights(same)["output/kernel"])
    assert (weights["output/kernel"] != get_weights(other)["output/kernel"]).any()
    biases = [value for path, value in weights.items() if path.endswith("bias")]
    assert all((bias == 0).all() for bias in biases)


def test_glorot_spread():
    kernel = get_weights(networks.build("lenet", (28, 28, 1), 10, seed=0))["fc1/kernel"]
    assert kernel.std() == pytest.approx((2 / (784 + 300)) ** 0.5, rel=0.02)


def test_dropout_sits_before_each_fc_layer():
    model = networks.build("conv2", (32, 32, 3), 10, seed=0, dropout_rate=0.5)
    names = [layer.name for layer in model.layers]
    assert names[names.index("flatten") + 1 :] == [
        "dropout_fc1",
        "fc1",
        "dropout_fc2",
        "fc2",
        "dropout_output",
        "output",
    ]


def test_dropout_of_a_network_without_it_is_refused():
    with pytest.raises(UsageError, match="'resnet18' has no dropout. Received: dropout_rate=0.5"):
        networks.build("resnet18", (32, 32, 3), 10, seed=0, dropout_rate=0.5)


def test_unknown_network():
    with pytest.raises(UsageError, match="Expected a network out of .*lenet.* Received"):
        networks.build("alexnet", (32, 32, 3), 10, seed=0)
