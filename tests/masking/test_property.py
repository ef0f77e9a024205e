"""For any small model, masks, optimizer, way of training and format: pruned weights are gone."""

import pathlib
import tempfile

import keras
import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from keras import layers as L

from lth_tf.masking import model as m
from tests.masking.masked_models import assert_obeys_masks, random_masks

SHAPE = (6, 4)
BODIES = {
    "dense": lambda n: L.Dense(4, "relu", name=n),
    "regularized": lambda n: L.Dense(4, kernel_regularizer="l1l2", name=n),
    "constrained": lambda n: L.Dense(4, kernel_constraint="unit_norm", name=n),
    "einsum": lambda n: L.EinsumDense("abc,cd->abd", (6, 4), name=n),
    "conv": lambda n: L.Conv1D(4, 3, padding="same", name=n),
    "separable": lambda n: L.SeparableConv1D(4, 3, padding="same", name=n),
    "lstm": lambda n: L.LSTM(4, return_sequences=True, name=n),
    "gru": lambda n: L.GRU(4, return_sequences=True, name=n),
    "bidirectional": lambda n: L.Bidirectional(
        L.SimpleRNN(2, return_sequences=True, name=f"{n}_in"), name=n
    ),
    "distributed": lambda n: L.TimeDistributed(L.Dense(4, name=f"{n}_in"), name=n),
    "norm": lambda n: L.BatchNormalization(name=n),
    "dropout": lambda n: L.Dropout(0.3, name=n),
    "nested": lambda n: keras.Sequential(
        [keras.Input(SHAPE), L.Dense(4, "tanh", name="deep")], name=n
    ),
    "attention": lambda n: None,
}
OPTIMIZERS = {
    "sgd": lambda: keras.optimizers.SGD(0.01, momentum=0.9, nesterov=True),
    "adam": lambda: keras.optimizers.Adam(0.01, clipnorm=1.0, use_ema=True),
    "adamw": lambda: keras.optimizers.AdamW(0.01, weight_decay=0.1),
    "rmsprop": lambda: keras.optimizers.RMSprop(0.01, momentum=0.9, centered=True),
    "adagrad": lambda: keras.optimizers.Adagrad(0.01),
    "adadelta": lambda: keras.optimizers.Adadelta(1.0),
    "adamax": lambda: keras.optimizers.Adamax(0.01),
    "nadam": lambda: keras.optimizers.Nadam(0.01, gradient_accumulation_steps=2),
    "ftrl": lambda: keras.optimizers.Ftrl(0.01),
    "lion": lambda: keras.optimizers.Lion(0.001, weight_decay=0.1),
    "lamb": lambda: keras.optimizers.Lamb(0.01),
    # Not Adafactor: where a row and a column have gradient 0, Keras divides 0 by 0.
    "muon": lambda: keras.optimizers.Muon(0.01),
}
WAYS = ["fit", "train_on_batch", "tape", "function"]
FORMATS = ["keras", "h5", "weights.h5", "checkpoint"]
X = np.random.default_rng(0).random((8, *SHAPE)).astype(np.float32)
Y = np.random.default_rng(1).random((8, 2)).astype(np.float32)


def build(bodies, functional):
    names = [f"{body}_{i}" for i, body in enumerate(bodies)]
    if not functional and "attention" not in bodies:
        stack = [BODIES[body](name) for body, name in zip(bodies, names, strict=True)]
        return keras.Sequential(
            [keras.Input(SHAPE), *stack, L.Flatten(), L.Dense(2, name="head")], name="model"
        )
    inputs = hidden = keras.Input(SHAPE)
    for body, name in zip(bodies, names, strict=True):
        if body == "attention":
            hidden = L.MultiHeadAttention(2, 2, name=name)(hidden, hidden)
        else:
            hidden = L.Add()([hidden, BODIES[body](name)(hidden)])
    return keras.Model(inputs, L.Dense(2, name="head")(L.Flatten()(hidden)), name="model")


def train(model, way):
    if way == "fit":
        model.fit(X, Y, batch_size=4, verbose=0)
    elif way == "train_on_batch":
        for _ in range(2):
            model.train_on_batch(X, Y)
    else:

        def step():
            with tf.GradientTape() as tape:
                losses = [tf.reduce_mean((model(X, training=True) - Y) ** 2), *model.losses]
                loss = tf.add_n(losses)
            gradients = tape.gradient(loss, model.trainable_variables)
            model.optimizer.apply(gradients, model.trainable_variables)

        model.optimizer.build(model.trainable_variables)
        step = tf.function(step) if way == "function" else step
        for _ in range(2):
            step()


def saved_and_loaded(model, kind, new):
    with tempfile.TemporaryDirectory() as folder:
        path = str(pathlib.Path(folder, f"model.{kind}"))
        if kind in ("keras", "h5"):
            # Keras cannot write two optimizer variables of one name (Adafactor) to .h5.
            model.save(path, **({"include_optimizer": False} if kind == "h5" else {}))
            return m.load_model(path, compile=False)
        loaded = m.mask_model(new())
        if kind == "weights.h5":
            model.save_weights(path)
            loaded.load_weights(path)
        else:
            path = tf.train.Checkpoint(model=model).save(path)
            status = tf.train.Checkpoint(model=loaded).restore(path)
            status.assert_existing_objects_matched()
        return loaded


def check(bodies, functional, optimizer, way, kind, density, seed, trained_before):
    keras.utils.set_random_seed(seed)
    model = build(bodies, functional)
    model.compile(OPTIMIZERS[optimizer](), "mse")
    if trained_before:
        train(model, way)
    m.mask_model(model)
    masks = random_masks(model, density, seed)
    m.set_masks(model, masks)
    train(model, way)
    # At the end of fit Adam stores its averages, here those from before the pruning too.
    averaged = optimizer == "adam" and way == "fit" and trained_before
    assert_obeys_masks(model, X, masks, stored_as_zero=not averaged)
    loaded = saved_and_loaded(model, kind, lambda: build(bodies, functional))
    np.testing.assert_allclose(np.array(loaded(X)), np.array(model(X)), rtol=1e-5, atol=1e-6)
    assert_obeys_masks(loaded, X, masks, stored_as_zero=not averaged)
    after = np.array(model(X))
    np.testing.assert_allclose(np.array(m.strip_masks(model)(X)), after, rtol=1e-5, atol=1e-6)


EXAMPLES = given(
    bodies=st.lists(st.sampled_from(sorted(BODIES)), min_size=1, max_size=3),
    functional=st.booleans(),
    optimizer=st.sampled_from(sorted(OPTIMIZERS)),
    way=st.sampled_from(WAYS),
    kind=st.sampled_from(FORMATS),
    density=st.sampled_from([0.0, 0.2, 0.5, 0.9, 1.0]),
    seed=st.integers(0, 2**16),
    trained_before=st.booleans(),
)
# Keras says that .h5 is its old format; every example is a new model, so traced anew.
QUIET = pytest.mark.filterwarnings("ignore:.*HDF5", "ignore:.*retracing")
COMMON = {
    "deadline": None,
    "derandomize": True,
    "database": None,
    "suppress_health_check": list(HealthCheck),
}


@QUIET
@EXAMPLES
@settings(max_examples=3, phases=[Phase.generate], **COMMON)
def test_outputs_never_depend_on_pruned_weights(**example):
    check(**example)


@pytest.mark.slow
@QUIET
@EXAMPLES
@settings(max_examples=200, **COMMON)
def test_outputs_never_depend_on_pruned_weights_at_length(**example):
    check(**example)
