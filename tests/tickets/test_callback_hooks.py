"""Methods that take part in every update, inside `model.fit`."""

import dataclasses

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from sklearn.datasets import load_digits

import lth_tf
from lth_tf.config import METHODS
from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks
from lth_tf.methods.base import Method
from lth_tf.methods.gradual import Gradual
from lth_tf.methods.hooks import Hooks
from lth_tf.methods.set import SET
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.seeding import BatchOrder, stream_seed
from lth_tf.tickets.callback import TicketCallback
from lth_tf.tickets.procedure import plan
from tests.small_runs import assert_same_results

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BATCH, STEPS = 20, 60


@pytest.fixture(scope="module")
def digits():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32), labels.astype(np.int32)


def small(input_shape=(64,), classes=10):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            L.Dense(30, "relu", name="fc1"),
            L.Dense(20, "relu", name="fc2"),
            L.Dense(classes, name="output"),
        ],
        name="small",
    )


def new_model(optimizer="adam", **options):
    keras.utils.set_random_seed(0)
    model = small()
    model.compile(optimizer, LOSS, metrics=["accuracy"], **options)
    return model


# 64 * 30 + 30 * 20 + 20 * 10 = 2,720 weights; pruned at iterations 12, 22 and 32 of 60.
GRADUAL = Gradual(final_density=(0.2,), prune_begin=0.2, prune_end=0.55, prune_frequency=10)
GROWS = SET(exchange_interval=3)


def fit(model, digits, folder, *others, method=GRADUAL, epochs=None, **options):
    tickets = TicketCallback(
        folder, epochs_per_level=2, levels=1, method=method, checkpoint_seconds=0, verbose=0
    )
    model.fit(
        digits[0][: BATCH * STEPS // 2],
        digits[1][: BATCH * STEPS // 2],
        batch_size=BATCH,
        validation_data=(digits[0][1000:], digits[1][1000:]),
        epochs=epochs or tickets.epochs,
        callbacks=[tickets, *others],
        verbose=0,
        **options,
    )
    return RunDir(folder)


def test_it_prunes_to_exact_counts_while_it_trains(digits, tmp_path):
    model = new_model()
    run = fit(model, digits, tmp_path / "run")
    assert run.finished() == [Stage(0), Stage(1)]
    assert run.summary(Stage(0))["remaining"] == 2720
    masks = run.mask(Stage(1))
    assert {path: int(mask.sum()) for path, mask in masks.items()} == {
        "fc1/kernel": 384,
        "fc2/kernel": 120,
        "output/kernel": 40,
    }
    for path, mask in masks.items():
        np.testing.assert_array_equal(run.trained(Stage(1))[path] != 0, mask)
        np.testing.assert_array_equal(get_masks(model)[path], mask)
    # The first epoch ends before the last pruning.
    assert run.summary(Stage(1))["early_stop_iteration"] == STEPS


def test_masks_are_those_of_a_trainer_that_sees_the_same_batches(digits, tmp_path):
    x, y = digits
    data = lth_tf.from_arrays(
        x[:1000], y[:1000], validation=(x[1000:], y[1000:]), test=(x[1000:], y[1000:])
    )
    config = lth_tf.ExperimentConfig(
        network=small, iterations=STEPS, batch_size=BATCH, eval_interval=STEPS, learning_rate=1e-3
    )
    config = config.replace(
        method=GRADUAL, prune_rate_fc=0.2, prune_rate_output=0.2, levels=1, dataset=data.name
    )
    trainer = lth_tf.find_tickets(config, data, tmp_path / "trainer")
    order = BatchOrder(len(data.train), BATCH, stream_seed(0, "order")).indices(0, STEPS)
    model = new_model(keras.optimizers.Adam(1e-3))
    lth_tf.mask_model(model)
    lth_tf.set_weights(model, trainer.origin())
    tickets = TicketCallback(
        tmp_path / "fit", epochs_per_level=1, levels=1, method=GRADUAL, verbose=0
    )
    rows = order.reshape(-1)
    model.fit(
        data.train.inputs[rows],
        data.train.labels[rows],
        batch_size=BATCH,
        shuffle=False,
        validation_data=(x[1000:], y[1000:]),
        epochs=tickets.epochs,
        callbacks=[tickets],
        verbose=0,
    )
    for level in (0, 1):
        for path, mask in trainer.mask(Stage(level)).items():
            other = tickets.run_dir.mask(Stage(level))[path]
            assert mask.sum() == other.sum()
            # Weights that differ by rounding change places at the border.
            assert (mask != other).mean() <= 0.002, path
        np.testing.assert_allclose(
            trainer.trained(Stage(0))["fc1/kernel"],
            tickets.run_dir.trained(Stage(0))["fc1/kernel"],
            atol=1e-5,
        )


class Stop(keras.callbacks.Callback):
    """Fails after a number of epochs."""

    def __init__(self, epochs):
        super().__init__()
        self.epochs = epochs

    def on_epoch_begin(self, epoch, logs=None):
        if epoch == self.epochs:
            raise KeyboardInterrupt


@pytest.mark.parametrize("method, epochs", [(GRADUAL, 1), (GRADUAL, 3), (GROWS, 3)])
def test_interrupted_it_goes_on_to_the_same_bits(method, epochs, digits, tmp_path):
    options = {"method": method, "shuffle": False}
    whole = fit(new_model(), digits, tmp_path / "whole", **options)
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, digits, tmp_path / "parts", Stop(epochs), **options)
    model = model if epochs == 1 else new_model()
    model.compile("adam", LOSS, metrics=["accuracy"])
    assert_same_results(fit(model, digits, tmp_path / "parts", **options), whole)


@dataclasses.dataclass(frozen=True)
class Doubled(Method):
    """Doubles the loss, and counts."""

    made = []

    def plan(self, shapes, rates, config):
        return [sum(int(np.prod(shape)) for shape in shapes.values())] * (config.levels + 1)

    def hooks(self, model, rates, config):
        self.made.append(DoubledHooks())
        return self.made[-1]


class DoubledHooks(Hooks):
    def __init__(self):
        self.before, self.after, self.kernel = (tf.Variable(0) for _ in range(3))
        self.variables = [self.before, self.after, self.kernel]

    def restart(self, iteration):
        for variable in self.variables:
            variable.assign(0)

    def before_update(self, iteration):
        self.before.assign_add(iteration)

    def extra_loss(self, iteration):
        return tf.constant(3.0)

    def loss(self, loss, inputs, logits, iteration):
        assert logits.shape[1:] == (10,) and inputs.shape[1:] == (64,)
        return 2 * loss

    def after_update(self, iteration, gradients):
        self.after.assign_add(iteration)
        assert gradients.keys() == {f"{n}/{w}" for n in ("fc1", "fc2", "output") for w in WEIGHTS}
        self.kernel.assign_add(tf.cast(tf.reduce_any(gradients["fc1/kernel"] != 0), tf.int32))


WEIGHTS = ("kernel", "bias")


@pytest.mark.parametrize("options", [{}, {"steps_per_execution": 5}, {"run_eagerly": True}])
def test_every_hook_is_called_in_every_update(options, digits, tmp_path):
    model = new_model(keras.optimizers.SGD(0.05), **options)
    fit(model, digits, tmp_path / "hooked", method=Doubled(), shuffle=False)
    hooks = Doubled.made[-1]
    assert [int(v) for v in hooks.variables] == [STEPS * (STEPS - 1) // 2] * 2 + [STEPS]
    plain = new_model(keras.optimizers.SGD(0.1))
    fit(plain, digits, tmp_path / "plain", method="imp", shuffle=False, epochs=2)
    found = RunDir(tmp_path / "hooked").trained(Stage(0))
    for path, value in RunDir(tmp_path / "plain").trained(Stage(0)).items():
        np.testing.assert_allclose(found[path], value, atol=1e-5)


def test_the_model_trains_in_its_own_way_afterwards(digits, tmp_path):
    model = new_model(keras.optimizers.SGD(0.05))
    own = type(model).train_step
    fit(model, digits, tmp_path / "hooked", method=Doubled())
    assert model.train_step.__func__ is own and "apply" not in vars(model.optimizer)
    counted = [int(v) for v in Doubled.made[-1].variables]
    model.fit(*digits, epochs=1, verbose=0)
    assert [int(v) for v in Doubled.made[-1].variables] == counted


def interrupted(digits, folder):
    model = new_model()
    with pytest.raises(KeyboardInterrupt):
        fit(model, digits, folder, Stop(1), method=Doubled())
    return model, [int(v) for v in Doubled.made[-1].variables]


@pytest.mark.parametrize("compiled", [False, True])
def test_hooks_that_a_broken_off_fit_has_left_are_not_called_any_more(compiled, digits, tmp_path):
    model, counted = interrupted(digits, tmp_path / "stopped")
    loss = model.evaluate(*digits, verbose=0)[0]
    assert loss == pytest.approx(float(LOSS(digits[1], model(digits[0]))), rel=1e-4)
    if compiled:
        model.compile("adam", LOSS, metrics=["accuracy"])
    model.fit(*digits, epochs=1, verbose=0)
    assert [int(v) for v in Doubled.made[-1].variables] == counted
    assert not {"train_step", "compute_loss", "make_train_function"} & vars(model).keys()


def test_another_callback_takes_the_place_of_hooks_that_were_left(digits, tmp_path):
    model, counted = interrupted(digits, tmp_path / "stopped")
    left = Doubled.made[-1]
    model.compile("adam", LOSS, metrics=["accuracy"])
    fit(model, digits, tmp_path / "again", method=Doubled(), epochs=1)
    assert [int(v) for v in left.variables] == counted
    assert int(Doubled.made[-1].kernel) == STEPS // 2


class OwnStep(keras.Model):
    """Never asks its optimizer."""

    def __init__(self, inner):
        super().__init__()
        self.inner = inner
        self.other = keras.optimizers.SGD(0.1)

    def call(self, inputs):
        return self.inner(inputs)

    def train_step(self, data):
        with tf.GradientTape() as tape:
            outputs = self(data[0], training=True)
            loss = self.compute_loss(*data, outputs)
        weights = self.trainable_weights
        self.other.apply(tape.gradient(loss, weights), weights)
        self._loss_tracker.update_state(loss)
        return self.compute_metrics(*data, outputs)


def test_what_cannot_call_hooks_is_refused_in_one_line(digits, tmp_path):
    keras.utils.set_random_seed(0)
    model = OwnStep(small())
    model.build((None, 64))
    model.compile("adam", LOSS, metrics=["accuracy"])
    with pytest.raises(UsageError, match="whose train_step never does"):
        fit(model, digits, tmp_path / "own")
    model = new_model()

    def batches():
        for _ in range(3):
            yield digits[0][:20], digits[1][:20]

    tickets = TicketCallback(
        tmp_path / "unknown", epochs_per_level=1, levels=1, method=GRADUAL, verbose=0
    )
    with pytest.raises(UsageError, match="Received: data without a length"):
        model.fit(
            batches(),
            shuffle=False,
            validation_data=digits,
            epochs=2,
            callbacks=[tickets],
            verbose=0,
        )
    assert not (tmp_path / "unknown").exists()
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = new_model()
    finally:
        keras.config.set_dtype_policy("float32")
    with pytest.raises(UsageError, match="mixed_float16"):
        fit(model, digits, tmp_path / "half")


def test_too_short_a_level_is_refused_before_it_is_trained(digits, tmp_path):
    method = dataclasses.replace(GRADUAL, prune_frequency=50)
    with pytest.raises(UsageError, match="at least prune_frequency=50 iterations"):
        fit(new_model(), digits, tmp_path / "run", method=method)
    assert not (tmp_path / "run").exists()


NOT_IN_FIT = {
    "concrete_search": "method that works in fit",
    "early_bird": "method that works in fit",
    "fine_tuning": "method that works in fit",
    "late_rewinding": "not in fit",
    "retrain": "method that works in fit",
}


# Gradual pruning by default takes a longer training; it is tested above.
@pytest.mark.parametrize(
    "method", [n for n in METHODS.names() if n not in (*NOT_IN_FIT, "gradual")]
)
def test_every_method_ends_with_the_weights_that_it_planned(method, digits, tmp_path):
    model = new_model()
    run = fit(model, digits, tmp_path / "run", method=method)
    last = max(stage for stage in run.finished() if not stage.control)
    masks, trained = run.mask(last), run.trained(last)
    kept = sum(int(mask.sum()) for mask in masks.values())
    dense = {path: np.ones_like(mask) for path, mask in masks.items()}
    if method != "supermask":  # its training decides
        assert kept == plan(run.config(), dense, dict.fromkeys(dense, 0.2))[last.level]
    for path, mask in masks.items():
        assert not trained[path][mask == 0].any()
        np.testing.assert_array_equal(get_masks(model)[path], mask)
    outputs = keras.ops.softmax(model(digits[0][1000:]))
    accuracy = (np.argmax(outputs, 1) == digits[1][1000:]).mean()
    assert accuracy == pytest.approx(run.summary(last)["final_test_accuracy"], abs=1e-6)


@pytest.mark.parametrize("method", NOT_IN_FIT)
def test_methods_that_need_more_than_levels_are_refused(method, tmp_path):
    with pytest.raises(UsageError, match=NOT_IN_FIT[method]):
        TicketCallback(tmp_path / "run", epochs_per_level=1, levels=1, method=method)
