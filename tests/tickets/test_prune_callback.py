"""Gradual pruning in fit without a run directory."""

import functools

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers as L
from sklearn.datasets import load_digits

import lth_tf
from lth_tf import PruneCallback
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import slots_of, weight_variables
from lth_tf.masking.variables import stored_value
from lth_tf.pruning.schedule import Schedule, count
from lth_tf.runs.stage import Stage

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
BATCH, BATCHES = 20, 30
SIZES = {"fc1/kernel": 1920, "fc2/kernel": 600, "output/kernel": 200}


@pytest.fixture(scope="module")
def digits():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32)[:600], labels.astype(np.int32)[:600]


def new_model(optimizer="adam", **options):
    keras.utils.set_random_seed(0)
    layers = [L.Dense(30, "relu", name="fc1"), L.Dense(20, "relu", name="fc2")]
    model = keras.Sequential([keras.Input((64,)), *layers, L.Dense(10, name="output")])
    model.compile(optimizer, LOSS, metrics=["accuracy"], **options)
    return model


@functools.cache
def _compiled_once():
    model = new_model()
    model.optimizer.build(model.trainable_variables)
    return lth_tf.mask_model(model), lth_tf.get_weights(model)


def as_new():
    """Returns a new model that need not be compiled again; there is one of it."""
    model, weights = _compiled_once()
    lth_tf.set_masks(model, {p: np.ones_like(m) for p, m in lth_tf.get_masks(model).items()})
    lth_tf.set_weights(model, weights)
    for variable in model.optimizer.variables:
        if variable.name != "learning_rate":
            variable.assign(np.zeros(variable.shape, variable.dtype))
    return model


def prune(density=0.1, **options):
    # Unlike the defaults: three prunings in 60 batches.
    steps = {"begin_step": 12, "end_step": 32, "frequency": 10}
    return PruneCallback(density, **{**steps, "verbose": 0, **options})


def fit(model, digits, *callbacks, epochs=2, **options):
    options = {"batch_size": BATCH, "shuffle": False, "verbose": 0, **options}
    return model.fit(*digits, epochs=epochs, callbacks=list(callbacks), **options)


def kept(model):
    return {path: int(mask.sum()) for path, mask in lth_tf.get_masks(model).items()}


def assert_same(found, expected):
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value)


class Watch(keras.callbacks.Callback):
    """Notes after each batch how many weights of fc1 are kept; none that is pruned is not 0."""

    def __init__(self):
        super().__init__()
        self.kept = []

    def on_train_batch_end(self, batch, logs=None):
        for slot in slots_of(self.model).values():
            assert not stored_value(slot.weight)[~slot.mask.numpy()].any()
        self.kept.append(kept(self.model)["fc1/kernel"])


def test_weights_go_before_the_updates_that_the_schedule_names(digits):
    watch = Watch()
    history = fit(as_new(), digits, prune(), watch)
    # 0.1 + 0.9 * 0.5 ** 3 of 1,920 at step 22.
    assert watch.kept == [1920] * 21 + [408] * 10 + [192] * 29
    assert kept(watch.model) == {"fc1/kernel": 192, "fc2/kernel": 60, "output/kernel": 20}
    assert history.history["density"] == [(408 + 128 + 42) / 2720, 272 / 2720]


@pytest.mark.slow
def test_masks_are_those_of_the_method_gradual(digits, tmp_path):
    tickets = lth_tf.TicketCallback(
        tmp_path / "run",
        epochs_per_level=2,
        levels=1,
        method="gradual",
        final_density=(0.1,),
        prune_begin=0.2,
        prune_end=0.55,
        prune_frequency=10,
        verbose=0,
    )
    fit(new_model(), digits, tickets, epochs=tickets.epochs, validation_data=digits)
    model = as_new()
    fit(model, digits, prune())
    assert_same(lth_tf.get_masks(model), tickets.run_dir.mask(Stage(1)))


OPTIMIZERS = {
    "averaging": lambda: keras.optimizers.AdamW(0.01, clipnorm=1.0, use_ema=True, ema_momentum=0.5),
    "muon": lambda: keras.optimizers.Muon(0.01, exclude_layers=["output"]),
    "accumulating": lambda: keras.optimizers.SGD(
        0.05, momentum=0.9, nesterov=True, weight_decay=0.01, gradient_accumulation_steps=3
    ),
}


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_pruned_weights_are_0_after_every_update_of_any_optimizer(name, digits):
    watch = Watch()
    fit(new_model(OPTIMIZERS[name]()), digits, prune(end_step=22), watch, epochs=1)
    assert watch.kept == [1920] * 21 + [192] * 9
    for path, weight in weight_variables(watch.model).items():
        if path in SIZES:
            assert np.count_nonzero(stored_value(weight)) == SIZES[path] // 10


@pytest.mark.slow
def test_compiled_by_xla(digits):
    watch = Watch()
    fit(new_model(jit_compile=True), digits, prune(end_step=22), watch, epochs=1)
    assert watch.kept == [1920] * 21 + [192] * 9


def test_a_pruning_inside_an_execution_comes_before_it_in_half_precision_too(digits):
    keras.config.set_dtype_policy("mixed_float16")
    try:
        model = new_model(steps_per_execution=7)
    finally:
        keras.config.set_dtype_policy("float32")
    watch = Watch()
    fit(model, digits, prune(end_step=59), watch)
    # Executions of 7, 7, 7, 7 and 2 steps; pruned at 12, 22, 32, 42, 52 and 59.
    schedule = Schedule(12, 59, 10, 1.0, 0.1)
    done = [(7, 0), (14, 12), (21, 12), (28, 22), (30, 22)]
    done += [(37, 32), (44, 42), (51, 42), (58, 52), (60, 59)]
    assert watch.kept == [count(1920, schedule.density(due)) if due else 1920 for _, due in done]


@pytest.mark.filterwarnings("ignore:Your input ran out of data")
def test_data_sets_with_and_without_a_length(digits):
    model = as_new()
    fit(model, digits, prune())
    expected = lth_tf.get_masks(model)
    data = tf.data.Dataset.from_tensor_slices(digits).batch(BATCH)
    model = as_new()
    model.fit(data, epochs=2, callbacks=[prune()], shuffle=False, verbose=0)
    assert_same(lth_tf.get_masks(model), expected)
    # Shorter than it says: 16 batches.
    short = tf.data.Dataset.from_generator(
        lambda: iter(data.take(16)), output_signature=data.element_spec
    )
    watch = Watch()
    as_new().fit(short, epochs=2, callbacks=[prune(), watch], shuffle=False, verbose=0)
    assert watch.kept == [1920] * 21 + [408] * 10 + [192]
    with pytest.raises(UsageError, match="Expected begin_step= and end_step=, or data with"):
        as_new().fit(short, callbacks=[PruneCallback(0.1, verbose=0)], shuffle=False, verbose=0)
    with pytest.raises(UsageError, match="data without a length, at epoch 1"):
        as_new().fit(
            short, epochs=3, initial_epoch=1, callbacks=[prune()], shuffle=False, verbose=0
        )


class Stop(keras.callbacks.Callback):
    def on_epoch_begin(self, epoch, logs=None):
        if epoch == 1:
            raise KeyboardInterrupt


def state(model):
    return lth_tf.get_weights(model), lth_tf.get_masks(model)


def test_a_fit_that_goes_on_ends_with_the_same_bits(digits, tmp_path):
    model = as_new()
    fit(model, digits, prune(end_step=52), epochs=3)
    whole = state(model)
    backup = keras.callbacks.BackupAndRestore(tmp_path / "backup")
    with pytest.raises(KeyboardInterrupt):
        fit(as_new(), digits, prune(end_step=52), backup, Stop(), epochs=3)
    model, watch = new_model(), Watch()
    fit(model, digits, prune(end_step=52), backup, watch, epochs=3)
    assert watch.kept[0] == count(1920, Schedule(12, 52, 10, 1.0, 0.1).density(22))
    assert len(watch.kept) == 60
    for found, expected in zip(state(model), whole, strict=True):
        assert_same(found, expected)


def test_a_saved_model_goes_on_too(digits, tmp_path):
    whole, file = as_new(), tmp_path / "model.keras"
    fit(whole, digits, prune(end_step=52), keras.callbacks.ModelCheckpoint(file), epochs=1)
    model = keras.models.load_model(file)
    assert kept(model) == kept(whole)
    fit(whole, digits, prune(end_step=52), initial_epoch=1, epochs=2)
    fit(model, digits, prune(end_step=52), initial_epoch=1, epochs=2)
    assert kept(model) == {"fc1/kernel": 192, "fc2/kernel": 60, "output/kernel": 20}
    assert_same(lth_tf.get_masks(model), lth_tf.get_masks(whole))


def test_one_callback_goes_on_counting_in_a_second_fit(digits):
    callback, watch = prune(), Watch()
    model = as_new()
    for _ in range(3):
        fit(model, digits, callback, watch, epochs=1)
    assert watch.kept == [1920] * 21 + [408] * 10 + [192] * 59
    other = new_model()
    fit(other, digits, callback, epochs=1)  # and begins anew with another model
    assert kept(other)["fc1/kernel"] == 408


def test_a_new_callback_prunes_on_and_never_gives_weights_back(digits):
    model = as_new()
    fit(model, digits, prune(0.2))
    first = lth_tf.get_masks(model)
    watch = Watch()
    fit(model, digits, prune(0.1), watch)
    assert watch.kept == [384] * 31 + [192] * 29
    assert all((mask <= first[path]).all() for path, mask in lth_tf.get_masks(model).items())


def test_steps_by_default_are_those_of_the_method_gradual(digits, capsys):
    fit(as_new(), digits, PruneCallback(0.1), epochs=2)
    assert capsys.readouterr().out.splitlines() == [
        "Pruned to 10 % of the weights from step 6 to 30, every 2.",
        "10.00 % of the weights are left.",
    ]
    fit(as_new(), digits, PruneCallback(0.1, begin_step=10, end_step=4000), epochs=1)
    assert capsys.readouterr().out.splitlines() == [
        "Pruned to 10 % of the weights from step 10 to 4,000, every 100.",
        "100.00 % of the weights are left; at step 4,000 it will be 10 %, this fit ended at 30.",
    ]
    fit(as_new(), digits, PruneCallback(0.1, schedule="constant"), epochs=1)
    assert capsys.readouterr().out.splitlines()[0] == "Pruned to 10 % of the weights at step 3."


def test_the_final_density_is_reached_where_the_frequency_does_not_fit(digits):
    watch = Watch()
    fit(as_new(), digits, prune(end_step=25), watch, epochs=1)
    assert watch.kept[21:] == [count(1920, Schedule(12, 25, 10, 1.0, 0.1).density(22))] * 3 + (
        [192] * 6
    )


def test_scopes_criteria_and_what_is_skipped(digits):
    model = new_model()
    fit(model, digits, prune(scope="global", skip=["output"]))
    found = kept(model)
    assert sum(found.values()) == 252 and found["fc1/kernel"] != 192 and len(found) == 2
    model = as_new()
    fit(model, digits, prune(criterion="random", scope="erk", seed=3))
    found = kept(model)
    assert sum(found.values()) == pytest.approx(272, abs=2) and found["output/kernel"] > 40

    def first(context):
        return {
            path: -np.arange(mask.size).reshape(mask.shape) for path, mask in context.masks.items()
        }

    model = as_new()
    fit(model, digits, prune(criterion=first))
    np.testing.assert_array_equal(
        np.flatnonzero(lth_tf.get_masks(model)["output/kernel"]), np.arange(20)
    )


def test_no_layer_loses_its_last_weight(digits):
    model = as_new()
    model.get_layer("fc2").kernel.assign(1e-6 * model.get_layer("fc2").kernel)
    fit(model, digits, prune(0.002, scope="global", begin_step=1, end_step=1), epochs=1)
    assert sum(kept(model).values()) == 5 and kept(model)["fc2/kernel"] == 1
    model = as_new()
    fit(model, digits, prune(0.001), epochs=2)
    assert kept(model) == {"fc1/kernel": 2, "fc2/kernel": 1, "output/kernel": 1}
    with pytest.raises(UsageError, match="final_density=0.0005, which leaves 0 to"):
        fit(as_new(), digits, prune(0.0005, scope="erk"))


def test_it_becomes_a_plain_model(digits, tmp_path):
    model = new_model()
    fit(model, digits, prune())
    expected = model.predict(digits[0], verbose=0)
    lth_tf.strip_masks(model).save(tmp_path / "pruned.keras")
    plain = keras.models.load_model(tmp_path / "pruned.keras")
    assert {type(layer) for layer in plain.layers} == {L.Dense}
    np.testing.assert_array_equal(plain.predict(digits[0], verbose=0), expected)
    assert np.count_nonzero(plain.get_layer("fc1").kernel) == 192


def test_best_weights_of_a_denser_model_are_not_put_back(digits):
    def stop(**options):
        return keras.callbacks.EarlyStopping("loss", restore_best_weights=True, **options)

    with pytest.raises(UsageError, match="start_from_epoch of at least 1: before that epoch"):
        fit(as_new(), digits, prune(), stop(), epochs=5)
    model = as_new()
    fit(model, digits, prune(), stop(start_from_epoch=1, patience=1), epochs=4)
    assert kept(model)["fc1/kernel"] == 192
    model = as_new()  # without it training may end early, at a density that is said
    fit(model, digits, prune(), keras.callbacks.EarlyStopping("loss", baseline=0.0), epochs=5)
    assert kept(model)["fc1/kernel"] in (408, 192)


def test_several_inputs_and_a_custom_step(digits):
    class Own(keras.Model):
        def train_step(self, data):
            with tf.GradientTape() as tape:
                loss = self.compute_loss(y=data[1], y_pred=self(data[0], training=True))
            weights = self.trainable_weights
            for gradient, weight in zip(tape.gradient(loss, weights), weights, strict=True):
                weight.assign_sub(0.1 * gradient)
            return {"loss": loss}

    keras.utils.set_random_seed(0)
    a, b = keras.Input((32,), name="a"), keras.Input((32,), name="b")
    outputs = L.Dense(10, name="out")(
        L.concatenate([L.Dense(9)(a), L.LSTM(5)(L.Reshape((4, 8))(b))])
    )
    model = Own({"a": a, "b": b}, outputs)
    model.compile("sgd", LOSS)
    inputs = {"a": digits[0][:, :32], "b": digits[0][:, 32:]}
    model.fit(inputs, digits[1], batch_size=20, epochs=2, callbacks=[prune(0.5)], verbose=0)
    assert {path: mask.mean() for path, mask in lth_tf.get_masks(model).items()} == dict.fromkeys(
        lth_tf.get_masks(model), 0.5
    )


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"final_density": 0}, r"final_density to be a fraction .* in \(0, 1\)"),
        ({"final_density": 1.0}, "Received: final_density=1.0"),
        ({"final_density": float("nan")}, "Received: final_density=nan"),
        ({"final_density": "0.1"}, "Received: final_density='0.1'"),
        ({"initial_density": 0.05}, "initial_density from final_density=0.1 to 1"),
        ({"initial_density": 1.5}, "initial_density from final_density=0.1 to 1"),
        ({"begin_step": -1}, "begin_step to be a whole number of steps, at least 0"),
        ({"frequency": 0}, "frequency to be a whole number of steps, at least 1"),
        ({"end_step": 1.5}, "Received: end_step=1.5"),
        ({"schedule": "linear"}, "schedule to be one of polynomial, constant"),
        ({"criterion": "magnitud"}, "Did you mean 'magnitude'"),
        ({"scope": "layers"}, "Expected a scope out of"),
    ],
)
def test_arguments_that_do_not_fit(arguments, message):
    with pytest.raises(UsageError, match=message):
        PruneCallback(**{"final_density": 0.1, **arguments})


@pytest.mark.parametrize(
    "options, message",
    [
        ({"criterion": "movement"}, "criterion of the weights as they are"),
        ({"criterion": "snip"}, "Expected a network that can be asked for gradients"),
        ({"criterion": lambda context: {}}, "a score for every weight"),
        ({"begin_step": 40}, "end_step of at least begin_step=40"),
        ({"skip": ["fc3"]}, "Received: 'fc3'"),
    ],
)
def test_what_cannot_be_pruned_is_refused_before_training(options, message, digits):
    model = as_new()
    with pytest.raises(UsageError, match=message):
        fit(model, digits, prune(**options))
    assert int(model.optimizer.iterations) == 0


def test_one_callback_prunes(digits, tmp_path):
    with pytest.raises(UsageError, match="Received: PruneCallback and PruneCallback"):
        fit(as_new(), digits, prune(), prune())
    tickets = lth_tf.TicketCallback(tmp_path / "run", epochs_per_level=1, levels=1, verbose=0)
    with pytest.raises(UsageError, match="Received: PruneCallback and TicketCallback"):
        fit(as_new(), digits, prune(), tickets)


def test_weights_that_are_not_finite_are_said(digits):
    with pytest.raises(RunError, match="'fc1/kernel' are not finite at step 12. Try a smaller"):
        fit(new_model(keras.optimizers.SGD(1e30)), digits, prune())
