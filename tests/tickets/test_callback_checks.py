"""What TicketCallback checks before it records a level: masks that reach every read, zeros."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.errors import RunError, UsageError
from lth_tf.runs.run_dir import RunDir, Stage
from lth_tf.tickets.callback import TicketCallback

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def data():
    inputs = np.random.default_rng(0).random((128, 20)).astype(np.float32)
    return inputs, inputs[:, :3].argmax(1)


class TwoLayers(keras.Model):
    def __init__(self):
        super().__init__(name="m")
        self.h, self.o = L.Dense(32, "relu", name="h"), L.Dense(3, name="o")

    def build(self, shape):
        self.h.build((None, 20))
        self.o.build((None, 32))
        self.built = True

    def call(self, x):
        return self.o(self.h(x))


class Compiled(TwoLayers):
    """Its call is a tf.function."""

    @tf.function
    def call(self, x):
        return self.o(self.h(x))


class Inside(TwoLayers):
    """A function inside its call is a tf.function that reads the kernels."""

    @tf.function
    def outputs(self, x):
        hidden = tf.nn.relu(x @ self.h.kernel + self.h.bias)
        return hidden @ self.o.kernel + self.o.bias

    def call(self, x):
        return self.outputs(x)


class Around(TwoLayers):
    """It keeps TensorFlow's own variable and reads that."""

    def build(self, shape):
        super().build(shape)
        self.raw = [self.h.kernel.value]

    def call(self, x):
        return self.o(tf.nn.relu(x @ self.raw[0] + self.h.bias))


class ByHand(TwoLayers):
    """Its training step moves TensorFlow's own variables after each update."""

    def train_step(self, data):
        logs = super().train_step(data)
        for weight in self.trainable_variables:
            if len(weight.shape) == 2:
                weight.value.assign_add(tf.ones(weight.shape) * 0.001)
        return logs


def made(kind, data):
    keras.utils.set_random_seed(0)
    model = kind()
    model.build((None, 20))
    return model


def fit(model, data, folder, metrics=("accuracy",)):
    model.compile(keras.optimizers.Adam(0.01), LOSS, metrics=list(metrics) or None)
    tickets = TicketCallback(folder, epochs_per_level=3, levels=2, prune_rates=0.5, verbose=0)
    model.fit(*data, validation_data=data, epochs=tickets.epochs, callbacks=[tickets], verbose=0)
    return tickets.run_dir


@pytest.mark.parametrize("kind", [TwoLayers, Compiled, Inside])
@pytest.mark.parametrize("before", ["call", "fit", "nothing"])
def test_what_was_traced_before_masking_is_recorded_with_its_own_accuracy(
    data, tmp_path, kind, before
):
    model = made(kind, data)
    if before == "call":
        model(data[0][:32])
    elif before == "fit":
        model.compile("adam", LOSS)
        model.fit(*data, verbose=0)
    run_dir = fit(model, data, tmp_path / "run")
    for level in range(3):
        weights = run_dir.trained(Stage(level))
        hidden = np.maximum(data[0] @ weights["h/kernel"] + weights["h/bias"], 0)
        found = (hidden @ weights["o/kernel"] + weights["o/bias"]).argmax(1)
        accuracy = run_dir.summary(Stage(level))["final_test_accuracy"]
        assert accuracy == pytest.approx((found == data[1]).mean(), abs=1e-6)
        assert np.count_nonzero(weights["h/kernel"]) <= 640 // 2**level


@pytest.mark.parametrize("wrap", [lambda data: data, lambda data: batches(data)])
def test_weights_read_round_their_mask_are_named_before_a_pruned_level_is_trained(
    data, tmp_path, wrap
):
    model = made(Around, data)
    model.compile("adam", LOSS, metrics=["accuracy"])
    tickets = TicketCallback(tmp_path / "run", epochs_per_level=1, levels=1, verbose=0)
    given = wrap(data)
    options = {"x": given} if isinstance(given, tf.data.Dataset) else {"x": data[0], "y": data[1]}
    with pytest.raises(UsageError, match="reads 'h/kernel' round its mask"):
        model.fit(
            **options, validation_data=data, epochs=2, callbacks=[tickets], verbose=0, shuffle=False
        )
    assert RunDir(tmp_path / "run").finished() == [Stage(0)]


def batches(data):
    return tf.data.Dataset.from_tensor_slices(data).batch(32)


def test_pruned_weights_changed_by_hand_are_named_before_the_level_is_recorded(data, tmp_path):
    with pytest.raises(RunError, match="pruned weights of 'h/kernel' to be 0. Received: 320"):
        fit(made(ByHand, data), data, tmp_path / "run")
    assert RunDir(tmp_path / "run").finished() == [Stage(0)]


def test_models_that_only_their_step_can_call_are_trained_unchecked(data, tmp_path):
    class Odd(TwoLayers):
        def call(self, x, needed):
            return self.o(self.h(x)) * needed

        def train_step(self, data):
            x, y = data
            with tf.GradientTape() as tape:
                loss = LOSS(y, self(x, needed=1.0))
            weights = self.trainable_variables
            self.optimizer.apply_gradients(zip(tape.gradient(loss, weights), weights, strict=True))
            return {"loss": loss}

        def test_step(self, data):
            return {"loss": LOSS(data[1], self(data[0], needed=1.0))}

    run_dir = fit(made(Odd, data), data, tmp_path / "run", metrics=())
    assert len(run_dir.finished()) == 3


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_an_epoch_without_examples_is_an_error(data, tmp_path):
    """Keras goes on where data end early: it counts an update and calls the loss 0."""
    model = made(TwoLayers, data)
    model.compile(keras.optimizers.Adam(0.01), LOSS, metrics=["accuracy"])
    batches = tf.data.Dataset.from_tensor_slices(data).batch(32)
    tickets = TicketCallback(tmp_path / "run", epochs_per_level=1, levels=2, verbose=0)
    with pytest.raises(UsageError, match="none in epoch 1 of level_01: the data ran out"):
        model.fit(
            batches.filter(lambda x, y: True),
            steps_per_epoch=4,
            validation_data=data,
            epochs=tickets.epochs,
            callbacks=[tickets],
            shuffle=False,
            verbose=0,
        )
    assert tickets.run_dir.finished() == [Stage(0)]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
@pytest.mark.parametrize("run_eagerly", [False, True])
def test_data_of_unknown_length_are_examples(run_eagerly, data, tmp_path):
    model = made(TwoLayers, data)
    model.compile("adam", LOSS, metrics=["accuracy"], run_eagerly=run_eagerly)
    batches = tf.data.Dataset.from_tensor_slices(data).batch(128).filter(lambda x, y: True)
    tickets = TicketCallback(tmp_path / "run", epochs_per_level=1, levels=2, verbose=0)
    options = {"epochs": tickets.epochs, "shuffle": False, "verbose": 0}
    model.fit(batches, validation_data=data, callbacks=[tickets], **options)
    assert len(tickets.run_dir.finished()) == 3
