"""TicketCallback with models of several optimizers, and what is said of those it cannot take."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L

from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks, get_weights, weight_variables
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback


@pytest.fixture(scope="module")
def inputs():
    return np.random.default_rng(0).random((64, 4)).astype(np.float32)


def part(name, size, outputs):
    layers = [L.Dense(8, "relu", name=f"{name}1"), L.Dense(outputs, name=f"{name}2")]
    return keras.Sequential([keras.Input((size,)), *layers], name=name)


class TwoOptimizers(keras.Model):
    """Two parts, each trained by an optimizer of its own."""

    def __init__(self, one, other, name):
        super().__init__(name=name)
        self.one, self.other, self.built = one, other, True

    def compile(self, first, second):
        super().compile()
        self.first, self.second = first, second

    def call(self, x):
        return self.one(x)

    def update(self, part, optimizer, loss):
        with tf.GradientTape() as tape:
            value = loss()
        weights = part.trainable_variables
        optimizer.apply_gradients(zip(tape.gradient(value, weights), weights, strict=True))
        return value


class Gan(TwoOptimizers):
    """A generator and a discriminator."""

    def train_step(self, x):
        noise = tf.random.stateless_normal((64, 3), (0, 0))
        likely = keras.losses.BinaryCrossentropy(from_logits=True)
        ones, zeros = tf.ones((64, 1)), tf.zeros((64, 1))

        def told_apart():
            return likely(ones, self.one(x)) + likely(zeros, self.one(self.other(noise)))

        loss = self.update(self.one, self.first, told_apart)
        self.update(self.other, self.second, lambda: likely(ones, self.one(self.other(noise))))
        return {"loss": loss}

    def test_step(self, x):
        return {"loss": tf.reduce_mean(tf.abs(self.one(x)))}


class Actors(TwoOptimizers):
    """Two parts that learn the same, one of them at every second step's rate."""

    def train_step(self, x):
        def error(part):
            return tf.reduce_mean((part(x) - x[:, :1]) ** 2)

        losses = [
            self.update(self.one, self.first, lambda: error(self.one)),
            self.update(self.other, self.second, lambda: error(self.other)),
        ]
        return {"loss": sum(losses)}

    def test_step(self, x):
        return {"loss": tf.reduce_mean((self.one(x) - x[:, :1]) ** 2)}


def gan(*optimizers):
    keras.utils.set_random_seed(0)
    model = Gan(part("d", 4, 1), part("g", 3, 4), "gan")
    model.compile(*optimizers)
    return model


def actors(*optimizers):
    keras.utils.set_random_seed(0)
    model = Actors(part("a", 4, 1), part("b", 4, 1), "actors")
    model.compile(*optimizers)
    return model


def adam_and_adagrad():
    return keras.optimizers.Adam(0.01), keras.optimizers.Adagrad(0.1)


class Watch(keras.callbacks.Callback):
    """Keeps weights and all optimizers at every epoch's first batch."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        model = self.model
        variables = [*model.first.variables, *model.second.variables]
        self.seen.append((get_weights(model), [np.array(v) for v in variables]))

    def on_train_batch_end(self, batch, logs=None):
        for path, mask in get_masks(self.model).items():
            stored = np.array(weight_variables(self.model)[path].value)
            assert not stored[mask == 0].any()


def fit(model, inputs, folder, *others, **options):
    tickets = TicketCallback(folder, epochs_per_level=2, levels=2, prune_rates=0.5, verbose=0)
    options = {"epochs": tickets.epochs, "batch_size": 64, "shuffle": False} | options
    model.fit(inputs, validation_data=(inputs,), callbacks=[tickets, *others], verbose=0, **options)
    return tickets.run_dir


@pytest.mark.parametrize("made", [gan, actors])
def test_models_of_two_optimizers(inputs, tmp_path, made):
    watch = Watch()
    run_dir = fit(made(*adam_and_adagrad()), inputs, tmp_path / "run", watch)
    sizes = [sum(m.size for m in run_dir.mask(Stage(0)).values())]
    assert [run_dir.summary(Stage(n))["remaining"] for n in range(3)] == [
        sizes[0],
        sizes[0] // 2,
        sizes[0] // 4,
    ]
    for level in range(3):
        weights, optimizers = watch.seen[2 * level]
        for path, value in run_dir.ticket(level).items():
            np.testing.assert_array_equal(weights[path], value)
        if level:
            # Adam starts with zeros, Adagrad with its accumulators at 0.1.
            slots = [v for v in optimizers if v.ndim]
            adam, adagrad = slots[:8], slots[8:]
            assert len(slots) == 12
            assert all((v == 0).all() for v in adam)
            assert all((v == np.float32(0.1)).all() for v in adagrad)
            assert [int(v) for v in optimizers if v.dtype.kind == "i"] == [0, 0]
    assert run_dir.summary(Stage(2))["metric"] == "loss"


@pytest.mark.parametrize(
    "made, same_model",
    [
        (gan, True),
        pytest.param(gan, False, marks=pytest.mark.slow),
        pytest.param(actors, True, marks=pytest.mark.slow),
        (actors, False),
    ],
)
def test_two_optimizers_in_pieces(inputs, tmp_path, made, same_model):
    once = fit(made(*adam_and_adagrad()), inputs, tmp_path / "once")
    model = made(*adam_and_adagrad())
    for _ in range(6):
        fit(model, inputs, tmp_path / "pieces", epochs=1)
        if not same_model:
            model = made(*adam_and_adagrad())
    pieces = RunDir(tmp_path / "pieces")
    for level in range(3):
        for path, value in once.trained(Stage(level)).items():
            np.testing.assert_array_equal(pieces.trained(Stage(level))[path], value)


def test_other_optimizers_are_refused(inputs, tmp_path):
    fit(gan(*adam_and_adagrad()), inputs, tmp_path / "run", epochs=1)
    with pytest.raises(UsageError, match="Expected the optimizer, with its values"):
        fit(gan(*adam_and_adagrad()[::-1]), inputs, tmp_path / "run")


def small(units=8, names=("fc1", "out")):
    keras.utils.set_random_seed(0)
    layers = [L.Dense(units, "relu", name=names[0]), L.Dense(1, name=names[1])]
    model = keras.Sequential([keras.Input((4,)), *layers], name="small")
    model.compile("adam", "mse")
    return model


@pytest.mark.parametrize("rewind_epoch", [0, 1])
@pytest.mark.parametrize(
    "other, message",
    [
        (lambda: small(units=9), r"has shape \(4, 9\)|Expected shape"),
        (lambda: small(names=("a", "out")), "another"),
    ],
    ids=["units", "names"],
)
def test_another_model_is_called_another_model(inputs, tmp_path, rewind_epoch, other, message):
    def run(model):
        tickets = TicketCallback(
            tmp_path / "run",
            epochs_per_level=2,
            levels=1,
            rewind_epoch=rewind_epoch,
            prune_rates={"output": 0.5},
            verbose=0,
        )
        data = (inputs, inputs[:, :1])
        model.fit(*data, validation_data=data, epochs=1, callbacks=[tickets], verbose=0)

    run(small())
    with pytest.raises(UsageError, match="Expected the (model|config)") as caught:
        run(other())
    assert "optimizer" not in str(caught.value)


def test_several_workers_are_sent_to_the_trainer(inputs, tmp_path):
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    with strategy.scope():
        model = small()
    tickets = TicketCallback(tmp_path / "run", epochs_per_level=1, levels=0)
    with pytest.raises(UsageError, match="Use lth_tf.Trainer") as caught:
        model.fit(inputs, inputs[:, :1], callbacks=[tickets], verbose=0)
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "run").exists()
