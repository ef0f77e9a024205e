"""compact removes all of the channels that are masked, whatever joins them."""

import keras
import numpy as np
import pytest
from keras import layers as L

from export.compaction.compact import compact
from lth_tf import networks, pruning
from lth_tf.config import GRANULARITIES
from lth_tf.masking.model import get_masks, get_weights, mask_model, set_masks, strip_masks
from tests.export.hand_built import difference, randomize


def normalized(x, filters, size=3, **options):
    x = L.Conv2D(filters, size, padding="same", use_bias=False, **options)(x)
    return L.ReLU()(L.BatchNormalization()(x))


def mlp(part=1):
    stack = [
        L.Dense(30 // part, activation="relu"),
        L.Dropout(0.1),
        L.Dense(20 // part, activation="tanh"),
    ]
    return keras.Sequential([keras.Input((20,)), *stack, L.Dense(4)])


def vgg(part=1):
    inputs = x = keras.Input((8, 8, 3))
    for filters in (8, 8, 16):
        x = normalized(x, filters // part)
    x = L.Flatten()(L.MaxPooling2D()(x))
    return keras.Model(inputs, L.Dense(4)(L.Dense(12 // part, activation="relu")(x)))


def mobile(part=1):
    """Inverted residuals as MobileNetV2 has them."""
    inputs = keras.Input((8, 8, 3))
    x = normalized(inputs, 8 // part, strides=2)
    for filters, strides in ((8, 1), (12, 2), (12, 1)):
        y = L.ZeroPadding2D()(normalized(x, 24 // part, 1))
        y = L.DepthwiseConv2D(3, strides=strides, use_bias=False)(y)
        y = L.ReLU(6.0)(L.BatchNormalization()(y))
        y = L.BatchNormalization()(L.Conv2D(filters // part, 1, use_bias=False)(y))
        x = L.Add()([x, y]) if x.shape == y.shape else y
    x = L.GlobalAveragePooling2D()(normalized(x, 32 // part, 1))
    return keras.Model(inputs, L.Dense(4)(x))


def unet(part=1):
    inputs = keras.Input((8, 8, 3))
    one = normalized(inputs, 8 // part)
    two = normalized(L.MaxPooling2D()(one), 16 // part)
    x = L.Conv2DTranspose(16 // part, 2, strides=2)(normalized(L.MaxPooling2D()(two), 24 // part))
    x = normalized(L.Concatenate()([x, two]), 16 // part)
    x = normalized(L.Concatenate()([L.UpSampling2D()(x), one]), 8 // part)
    return keras.Model(inputs, L.Conv2D(2, 1)(x))


def inception(part=1):
    """Branches side by side, normalization without a scale, squeeze-and-excitation."""
    inputs = keras.Input((8, 8, 3))
    x = normalized(inputs, 8 // part)
    one, two = (
        L.ReLU()(L.BatchNormalization(scale=False)(L.Conv2D(8 // part, size, padding="same")(x)))
        for size in (1, 3)
    )
    three = L.Conv2D(4 // part, 1)(L.AveragePooling2D(3, 1, padding="same")(x))
    x = L.DepthwiseConv2D(3, padding="same")(L.Concatenate()([one, two, three]))
    x = L.SeparableConv2D(12 // part, 3, padding="same")(x)
    y = L.Reshape((1, 1, 12 // part))(L.GlobalAveragePooling2D()(x))
    y = L.Conv2D(12 // part, 1, activation="sigmoid")(L.Conv2D(4 // part, 1, activation="relu")(y))
    x = L.Dropout(0.2)(L.Multiply()([x, y]))
    return keras.Model(inputs, L.Dense(3)(L.GlobalMaxPooling2D()(x)))


def transformer(part=1):
    inputs = keras.Input((10, 16))
    x = L.Dense(16)(inputs)
    y = L.LayerNormalization()(x)
    x = L.Add()([x, L.MultiHeadAttention(4 // part, 5)(y, y)])
    y = L.Dense(32 // part, activation="gelu")(L.LayerNormalization()(x))
    x = L.Add()([x, L.Dense(16)(y)])
    return keras.Model(inputs, L.Dense(3)(L.GlobalAveragePooling1D()(x)))


def resnet():
    return strip_masks(networks.build("resnet18", (8, 8, 3), 10, seed=0))


def half_of_its_channels(model):
    """Masks half of the channels of every layer, chosen by size; the model has no masks then."""
    randomize(model)
    mask_model(model)
    units = GRANULARITIES.get("channel")().units(model)
    masks = get_masks(model)
    context = pruning.PruningContext(masks, get_weights(model), {}, units=units)
    rates = units.shared(dict.fromkeys(masks, 0.5))
    set_masks(model, pruning.prune(context, rates, "magnitude", "layerwise", 1))
    return model


@pytest.mark.parametrize("network", [mlp, vgg, mobile, unet, inception, transformer, resnet])
def test_nothing_of_a_masked_channel_is_left(network):
    keras.utils.set_random_seed(0)
    model = half_of_its_channels(network())
    inputs = np.random.default_rng(0).normal(size=(4, *model.inputs[0].shape[1:]))
    expected = np.asarray(model(inputs))
    plain = strip_masks(model)
    small = compact(plain)
    half = 69_570 if network is resnet else network(2).count_params()
    assert small.count_params() == half
    assert np.ptp(expected) > 0
    np.testing.assert_allclose(small(inputs), expected, rtol=1e-4, atol=1e-4 * np.ptp(expected))
    if network is not transformer:  # attention is computed in float32 whatever the model
        assert difference(plain, small) < 1e-9 * max(1.0, np.ptp(expected))


def test_the_heads_that_are_left():
    keras.utils.set_random_seed(0)
    small = compact(strip_masks(half_of_its_channels(transformer())))
    (attention,) = (x for x in small.layers if isinstance(x, L.MultiHeadAttention))
    assert attention.num_heads == 2
    assert attention.output_dense.kernel.shape == (2, 5, 16)


@pytest.mark.parametrize(("activation", "left"), [("sigmoid", 8), ("relu", 4)])
def test_no_constant_reaches_a_normalization_without_a_scale(activation, left):
    """There it would be 0 in training and far from it behind the moving mean, which is masked."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((8, 8, 3))
    x = L.BatchNormalization(scale=False)(
        L.Conv2D(8, 3, activation=activation, name="conv")(inputs)
    )
    x = L.GlobalAveragePooling2D()(L.Conv2D(6, 3, name="next")(x))
    masks = get_masks(half_of_its_channels(keras.Model(inputs, L.Dense(2)(x))))
    assert masks["conv/kernel"].any((0, 1, 2)).sum() == left
    assert masks["next/kernel"].any((0, 1, 2)).sum() == 3
