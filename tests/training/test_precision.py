"""Computing in bfloat16 and float16 beside float32 weights, masks and optimizer."""

import dataclasses

import keras
import numpy as np
import pytest
from sklearn.datasets import load_digits

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import from_arrays
from lth_tf.masking.model import get_masks, get_weights, mask_model, set_masks, weight_variables
from lth_tf.masking.variables import stored_value
from lth_tf.methods.hooks import Hooks
from lth_tf.training.trainer import Trainer

COMPUTES_IN = {"float32": "float32", "mixed_bfloat16": "bfloat16", "mixed_float16": "float16"}
CONFIG = ExperimentConfig(
    iterations=40,
    batch_size=20,
    eval_interval=20,
    optimizer="momentum",
    learning_rate=0.05,
    weight_decay=0.01,
)


@pytest.fixture(scope="module")
def data():
    x, y = load_digits(return_X_y=True)
    return from_arrays(x / 16, y)


class Spy(keras.layers.Layer):
    """Keeps the types of what it is given."""

    def __init__(self):
        super().__init__()
        self.seen = set()

    def call(self, x):
        self.seen.add(keras.backend.standardize_dtype(x.dtype))
        return x


class Gradients(Hooks):
    """Keeps the first gradient that it is given."""

    def __init__(self, model):
        self.first = keras.Variable(np.zeros(model.get_layer("output").bias.shape, "float32"))
        self.variables = [self.first]

    def after_update(self, iteration, gradients):
        keep = keras.ops.equal(iteration, 0)
        self.first.assign(keras.ops.where(keep, gradients["output/bias"], self.first))


def network():
    keras.utils.set_random_seed(1)
    spy = Spy()
    dense = keras.layers.Dense
    model = keras.Sequential(
        [keras.Input((64,)), dense(16, "relu", name="hidden"), spy, dense(10, name="output")]
    )
    model = mask_model(model)
    random = np.random.default_rng(0)
    masks = {p: (random.random(m.shape) < 0.5).astype("u1") for p, m in get_masks(model).items()}
    set_masks(model, masks)
    spy.seen.clear()
    return model, spy, masks


def trained(data, precision, jit="off"):
    model, spy, masks = network()
    hooks = Gradients(model)
    config = dataclasses.replace(CONFIG, precision=precision)
    history = Trainer(model, data, config, jit, hooks=hooks).fit()
    return model, spy, masks, hooks, history


@pytest.mark.parametrize("precision", list(COMPUTES_IN)[1:])
def test_only_the_network_computes_in_another_type(data, precision):
    plain, _, _, plain_hooks, plain_history = trained(data, "float32")
    model, spy, masks, hooks, history = trained(data, precision)
    assert spy.seen == {COMPUTES_IN[precision]}
    assert {v.dtype for v in weight_variables(model).values()} == {"float32"}
    assert {layer.compute_dtype for layer in model.layers} == {"float32"}
    for path, mask in masks.items():
        stored = stored_value(weight_variables(model)[path])
        assert (stored[mask == 0] == 0).all() and (stored[mask == 1] != 0).all()
        # Weight decay included; not the same bits, or nothing was computed otherwise.
        expected = get_weights(plain)[path]
        assert np.abs(stored - expected).max() < 0.02 and (stored != expected).any()
    scale = np.abs(np.array(plain_hooks.first)).max()
    assert np.abs(np.array(hooks.first) - np.array(plain_hooks.first)).max() < 0.02 * scale
    losses = [e.validation_loss for e in history.evaluations]
    assert losses == pytest.approx([e.validation_loss for e in plain_history.evaluations], rel=0.02)


def test_float16_resumes_with_the_same_bits(data):
    config = dataclasses.replace(CONFIG, precision="mixed_float16")
    model, _, _ = network()
    states = []
    trainer = Trainer(model, data, config, "off")
    states = [trainer.state() for _ in trainer.evaluations()]
    ended = get_weights(model)
    trainer.restart()
    trainer.restore(states[1])
    for _ in trainer.evaluations():
        pass
    for path, value in get_weights(model).items():
        np.testing.assert_array_equal(value, ended[path])
