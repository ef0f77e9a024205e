"""One update: the model's own losses, constraints, and the hooks of methods."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers, regularizers
from sklearn.datasets import load_digits

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import from_arrays
from lth_tf.masking.model import get_masks, get_weights, mask_model, set_masks, weight_variables
from lth_tf.masking.variables import stored_value
from lth_tf.methods.hooks import Hooks
from lth_tf.training.batches import InMemoryBatches
from lth_tf.training.trainer import Trainer

CONFIG = ExperimentConfig(
    iterations=6, batch_size=20, eval_interval=3, optimizer="sgd", learning_rate=0.01
)


@pytest.fixture(scope="module")
def data():
    x, y = load_digits(return_X_y=True)
    return from_arrays((x / 16)[:600], y[:600])


class AddsLoss(layers.Layer):
    def call(self, x):
        self.add_loss(3.0 * keras.ops.mean(keras.ops.square(x)))
        return x


LOSSES = {
    "none": {},
    "kernel": {"kernel_regularizer": regularizers.L2(10.0)},
    "bias": {"bias_regularizer": regularizers.L1(0.3), "bias_initializer": "ones"},
    "activity": {"activity_regularizer": regularizers.L2(0.5)},
    "orthogonal": {"kernel_regularizer": regularizers.OrthogonalRegularizer(0.1)},
    "add_loss": {},
}


def network(kind="none", **changes):
    keras.utils.set_random_seed(1)
    return keras.Sequential(
        [
            keras.Input((64,)),
            layers.Dense(16, "relu", name="hidden", **{**LOSSES[kind], **changes}),
            *([AddsLoss()] if kind == "add_loss" else []),
            layers.Dense(10, name="output"),
        ]
    )


def half(model):
    random = np.random.default_rng(0)
    masks = {p: (random.random(m.shape) < 0.5).astype("u1") for p, m in get_masks(model).items()}
    set_masks(model, masks)
    return masks


def train_only(trainer):
    """Trains without testing the best weights: to assign weights stores pruned ones as 0."""
    for _ in trainer.evaluations():
        pass


@pytest.mark.parametrize("kind", LOSSES)
def test_the_models_own_losses_are_those_of_keras(data, kind):
    ours, theirs = network(kind), network(kind)
    history = Trainer(ours, data, CONFIG, "off").fit()
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    theirs.compile(keras.optimizers.SGD(0.01), loss)
    rows = InMemoryBatches(data.train, data.preprocessing, CONFIG).feed(0, 6).numpy()
    losses = [theirs.train_on_batch(data.train.inputs[row], data.train.labels[row]) for row in rows]
    for path, value in get_weights(theirs).items():
        np.testing.assert_allclose(get_weights(ours)[path], value, atol=1e-5)
    found = [e.train_loss for e in history.evaluations[1:]]
    means = [np.mean(losses[:3]), np.mean(losses[3:])]
    assert found == pytest.approx(means, rel=1e-4)
    expected = theirs.evaluate(
        data.validation.inputs, data.validation.labels, batch_size=1000, verbose=0
    )
    assert history.evaluations[-1].validation_loss == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("kind", LOSSES)
def test_pruned_weights_stay_zero_whatever_adds_to_the_loss(data, kind):
    model = mask_model(network(kind))
    masks = half(model)
    train_only(Trainer(model, data, CONFIG, "off"))
    for path, mask in masks.items():
        stored = stored_value(weight_variables(model)[path])
        assert (stored[mask == 0] == 0).all() and (stored[mask == 1] != 0).all()


class PushesAll(Hooks):
    """Draws every stored weight of a layer towards 1, pruned or not."""

    def __init__(self, model):
        self.weight = weight_variables(model)["hidden/kernel"]

    def extra_loss(self, iteration):
        return keras.ops.sum(keras.ops.square(self.weight.value - 1.0))


def test_pruned_weights_stay_zero_whatever_hooks_add_to_the_loss(data):
    model = mask_model(network())
    masks = half(model)
    train_only(Trainer(model, data, CONFIG, "off", hooks=PushesAll(model)))
    stored, kept = stored_value(weight_variables(model)["hidden/kernel"]), masks["hidden/kernel"]
    assert (stored[kept == 0] == 0).all() and stored[kept == 1].mean() > 0.1


class AddsOne(keras.constraints.Constraint):
    def __call__(self, w):
        return w + 1.0


def test_pruned_weights_stay_zero_under_constraints(data):
    model = mask_model(network(kernel_constraint=AddsOne()))
    masks = half(model)
    train_only(Trainer(model, data, CONFIG, "off"))
    stored = stored_value(weight_variables(model)["hidden/kernel"])
    kept = masks["hidden/kernel"] == 1
    assert (stored[~kept] == 0).all() and (stored[kept] > 5).all()


class Exchange(Hooks):
    """Moves a mask's first row to where the second row was, once, and counts its calls."""

    def __init__(self, model):
        path = "hidden/kernel"
        self.weight = weight_variables(model)[path]
        (self.mask,) = (v for v in model.variables if v.name == "kernel_mask" and v.shape[0] == 64)
        self.seen = tf.Variable([0, 0, -1], dtype=tf.int32)
        self.score = keras.Variable(0.0, name="score")
        self.variables = [self.seen, self.mask]
        self.trainable_variables = [self.score]

    def restart(self, iteration):
        self.seen.assign([0, 0, -1])
        self.score.assign(0.0)

    def before_update(self, iteration):
        self.seen.assign_add([1, 0, 0])

    def extra_loss(self, iteration):
        return keras.ops.square(self.score - 4.0)

    def after_update(self, iteration, gradients):
        self.seen.assign(tf.stack([self.seen[0], self.seen[1] + 1, iteration]))
        pruned = tf.logical_not(tf.cast(self.mask.value, tf.bool))
        still = tf.reduce_all(tf.equal(tf.boolean_mask(gradients["hidden/kernel"], pruned), 0.0))
        tf.debugging.assert_equal(still, True)
        self.mask.assign(tf.cond(iteration == 3, lambda: self.exchanged(), lambda: self.mask.value))
        self.weight.assign(self.weight.value * tf.cast(self.mask.value, tf.float32))

    def exchanged(self):
        return tf.concat([self.mask.value[1:2], self.mask.value[:1], self.mask.value[2:]], 0)


def masked_rows(model):
    masks = {path: np.ones_like(mask) for path, mask in get_masks(model).items()}
    masks["hidden/kernel"][0] = 0
    set_masks(model, masks)


def test_hooks_are_called_and_their_variables_are_part_of_the_state(data):
    model = mask_model(network())
    masked_rows(model)
    hooks = Exchange(model)
    trainer = Trainer(
        model, data, dataclasses.replace(CONFIG, learning_rate=0.5), "off", hooks=hooks
    )
    states = [trainer.state() for _ in trainer.evaluations()]
    assert hooks.seen.numpy().tolist() == [6, 6, 5]
    mask = get_masks(model)["hidden/kernel"]
    assert mask[0].all() and not mask[1].any() and mask[2:].all()
    assert (stored_value(hooks.weight)[1] == 0).all()
    # SGD of rate 0.5 on (score - 4)^2 is there after one step.
    assert float(hooks.score.value) == 4.0
    ended = get_weights(model)

    trainer.restart()
    assert hooks.seen.numpy().tolist() == [0, 0, -1] and float(hooks.score.value) == 0.0
    trainer.restore(states[1])
    assert hooks.seen.numpy().tolist() == [3, 3, 2]
    assert not get_masks(model)["hidden/kernel"][0].any()
    for _ in trainer.evaluations():
        pass
    for path, value in get_weights(model).items():
        np.testing.assert_array_equal(value, ended[path])
    assert trainer.traces == 1
