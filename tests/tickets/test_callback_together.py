"""TicketCallback beside other callbacks, optimizers and metrics, in one fit or in several."""

import keras
import numpy as np
import pytest
from keras import layers as L
from sklearn.datasets import load_digits

from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import get_weights
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def data():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32)[:320], labels[:320].astype(np.int32)


def new_model(optimizer="adam", metrics=("accuracy",), **options):
    keras.utils.set_random_seed(0)
    layers = [L.Dense(16, "relu", name="fc1"), L.Dropout(0.3, name="drop"), L.Dense(10, name="out")]
    model = keras.Sequential([keras.Input((64,)), *layers])
    model.compile(optimizer, LOSS, metrics=list(metrics), **options)
    return model


def tickets_in(folder, **options):
    return TicketCallback(
        folder, **{"epochs_per_level": 3, "levels": 1, "verbose": 0, "prune_rates": 0.5} | options
    )


def fit(model, data, callbacks, epochs=None, **options):
    (tickets,) = (c for c in callbacks if isinstance(c, TicketCallback))
    return model.fit(
        *data,
        **{"validation_split": 0.25, "shuffle": False, "verbose": 0} | options,
        callbacks=callbacks,
        epochs=tickets.epochs if epochs is None else epochs,
    )


def assert_same(one, other):
    one, other = RunDir(one), RunDir(other)
    assert one.finished() == other.finished() != []
    for stage in one.finished():
        for path, value in one.trained(stage).items():
            np.testing.assert_array_equal(other.trained(stage)[path], value)
        first, second = ({**run.summary(stage), "seconds": 0} for run in (one, other))
        assert first == second
    for path, value in one.origin().items():
        np.testing.assert_array_equal(other.origin()[path], value)


def ema():
    return keras.optimizers.Adam(use_ema=True, ema_momentum=0.9)


def stops_early():
    return [keras.callbacks.EarlyStopping(restore_best_weights=True, patience=9)]


@pytest.mark.parametrize(
    "optimizer, others, rewind_epoch, same_callback",
    [
        pytest.param(optimizer, others, rewind, same, id=f"{name}-{same}", marks=marks)
        for name, optimizer, others, rewind, quick in (
            ("plain", "adam", list, 0, True),
            ("rewound", "adam", list, 2, False),
            ("moving averages", ema, list, 0, False),
            ("early stopping", "adam", stops_early, 0, True),
        )
        for same in (True, False)
        for marks in [[] if same == quick or name == "plain" else [pytest.mark.slow]]
    ],
)
def test_fit_in_pieces_is_fit_at_once(
    data, tmp_path, optimizer, others, rewind_epoch, same_callback
):
    def made():
        return optimizer() if callable(optimizer) else optimizer

    once = tickets_in(tmp_path / "once", rewind_epoch=rewind_epoch)
    fit(new_model(made()), data, [*others(), once])
    model = new_model(made())
    callback = tickets_in(tmp_path / "pieces", rewind_epoch=rewind_epoch)
    for _ in range(10):
        if callback.epochs == 0:
            break
        fit(model, data, [*others(), callback], epochs=1)
        if not same_callback:
            callback = tickets_in(tmp_path / "pieces", rewind_epoch=rewind_epoch)
    assert_same(tmp_path / "once", tmp_path / "pieces")


def test_interrupted_fit_goes_on_in_the_same_process(data, tmp_path):
    class Interrupt(keras.callbacks.Callback):
        def on_train_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 20:
                raise KeyboardInterrupt

    fit(new_model(), data, [tickets_in(tmp_path / "once", checkpoint_seconds=0)])
    model = new_model()
    for others in ([Interrupt()], []):
        try:
            fit(model, data, [tickets_in(tmp_path / "two", checkpoint_seconds=0), *others])
        except KeyboardInterrupt:
            assert others
    assert_same(tmp_path / "once", tmp_path / "two")


def test_one_more_fit_changes_nothing_of_a_finished_run(data, tmp_path):
    model = new_model()
    fit(model, data, [tickets_in(tmp_path / "run", rewind_epoch=1)])
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*.npz")}
    weights = get_weights(model)
    fit(model, data, [tickets_in(tmp_path / "run", rewind_epoch=1)], epochs=2)
    assert {p: p.read_bytes() for p in before} == before
    for path, value in get_weights(model).items():
        np.testing.assert_array_equal(value, weights[path])


@pytest.mark.parametrize("first", [True, False])
def test_checkpoints_of_others_have_the_weights_their_numbers_are_of(data, tmp_path, first):
    file = str(tmp_path / "best.weights.h5")
    best = keras.callbacks.ModelCheckpoint(
        file, monitor="val_accuracy", save_best_only=True, save_weights_only=True
    )
    model, tickets = new_model(), tickets_in(tmp_path / "run")
    fit(model, data, [best, tickets] if first else [tickets, best])
    model.load_weights(file)
    held_out = (data[0][240:], data[1][240:])
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    assert accuracy == pytest.approx(best.best, abs=1e-6)


def test_restored_best_weights_of_a_level_are_what_is_judged(data, tmp_path):
    stop = keras.callbacks.EarlyStopping(restore_best_weights=True, patience=2)
    tickets = tickets_in(tmp_path / "run", epochs_per_level=12, levels=0, level_callbacks=[stop])
    model = new_model(keras.optimizers.SGD(3.0))
    fit(model, data, [tickets])
    held_out = (data[0][240:], data[1][240:])
    accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
    summary = tickets.run_dir.summary(Stage(0))
    assert summary["final_test_accuracy"] == pytest.approx(accuracy, abs=1e-6)
    assert summary["early_stop_iteration"] < summary["iterations"]


def test_level_checkpoint_is_not_written_anew_on_going_on(data, tmp_path):
    def best():
        return keras.callbacks.ModelCheckpoint(
            str(tmp_path / "best.weights.h5"),
            monitor="val_loss",
            save_best_only=True,
            save_weights_only=True,
        )

    model = new_model()
    fit(model, data, [tickets_in(tmp_path / "run", level_callbacks=[best()])], epochs=2)
    written = (tmp_path / "best.weights.h5").stat().st_mtime_ns
    again = best()
    tickets = tickets_in(tmp_path / "run", level_callbacks=[again])
    tickets.set_model(model)
    tickets.set_params({"epochs": 0})
    tickets.on_train_begin()
    assert (tmp_path / "best.weights.h5").stat().st_mtime_ns == written
    assert again.best == pytest.approx(tickets.run_dir.metrics()[-1]["validation_loss"])
    tickets.on_train_end()


def test_batch_hooks_of_level_callbacks(data, tmp_path):
    seen = []
    hook = keras.callbacks.LambdaCallback(on_train_batch_end=lambda batch, logs: seen.append(batch))

    class Stop(keras.callbacks.Callback):
        def on_batch_end(self, batch, logs=None):
            if self.model.optimizer.iterations == 12:
                self.model.stop_training = True

    tickets = tickets_in(tmp_path / "run", rewind_epoch=1, level_callbacks=[hook, Stop()])
    fit(new_model(), data, [tickets])
    # 8 batches an epoch; a level ends in the middle of its second.
    assert seen == [*range(8), *range(4)] * 2
    assert [tickets.run_dir.summary(Stage(n))["iterations"] for n in (0, 1)] == [12, 12]


def test_other_optimizer_is_refused(data, tmp_path):
    fit(new_model("adam"), data, [tickets_in(tmp_path / "run")], epochs=2)
    for other in ("sgd", keras.optimizers.Adam(0.1)):
        with pytest.raises(UsageError, match="Expected the optimizer, with its values"):
            fit(new_model(other), data, [tickets_in(tmp_path / "run")])


def test_used_optimizer_is_refused(data, tmp_path):
    model = new_model()
    model.fit(*data, verbose=0)
    with pytest.raises(UsageError, match="that has made 10 updates. Call compile again"):
        fit(model, data, [tickets_in(tmp_path / "run")])


def test_loss_that_is_not_finite_leaves_no_origin(data, tmp_path):
    tickets = tickets_in(tmp_path / "run", rewind_epoch=1)
    with pytest.raises(RunError, match="is not finite at epoch 1 of level_00/origin"):
        fit(new_model(keras.optimizers.SGD(1e30)), data, [tickets])
    assert not tickets.run_dir.has_origin()


def test_model_that_is_built_anew_needs_no_name(data, tmp_path):
    fit(new_model(), data, [tickets_in(tmp_path / "run")], epochs=2)
    again = new_model()
    fit(again, data, [tickets_in(tmp_path / "run")])
    assert RunDir(tmp_path / "run").finished() == [Stage(0), Stage(1)]


def test_other_layer_sizes_are_refused(data, tmp_path):
    fit(new_model(), data, [tickets_in(tmp_path / "run")], epochs=2)
    model = keras.Sequential(
        [keras.Input((64,)), L.Dense(17, name="fc1"), L.Dropout(0.3), L.Dense(10, name="out")]
    )
    model.compile("adam", LOSS, metrics=["accuracy"])
    with pytest.raises(UsageError, match="Expected the"):
        fit(model, data, [tickets_in(tmp_path / "run")])


def test_metrics_beside_the_accuracy(data, tmp_path):
    metrics = ["accuracy", keras.metrics.SparseTopKCategoricalAccuracy(k=3, name="top3_accuracy")]
    tickets = tickets_in(tmp_path / "run", levels=0)
    history = fit(new_model(metrics=metrics), data, [tickets]).history
    summary = tickets.run_dir.summary(Stage(0))
    assert summary["final_test_accuracy"] == pytest.approx(history["val_accuracy"][-1])
    two = [keras.metrics.SparseCategoricalAccuracy(name=name) for name in ("a_acc", "b_acc")]
    with pytest.raises(UsageError, match="Received: metric=None and a_acc, b_acc"):
        fit(new_model(metrics=two), data, [tickets_in(tmp_path / "two")])
    named = tickets_in(tmp_path / "named", levels=0, metric="b_acc")
    fit(new_model(metrics=two), data, [named])
    assert named.run_dir.finished() == [Stage(0)]


def test_test_data_with_sample_weights(data, tmp_path):
    weights = np.where(np.arange(320) < 160, 1.0, 0.0).astype(np.float32)
    tickets = tickets_in(tmp_path / "run", levels=0, test_data=(*data, weights))
    model = new_model()
    fit(model, data, [tickets])
    accuracy = model.evaluate(*data, verbose=0, return_dict=True)["accuracy"]
    assert tickets.run_dir.summary(Stage(0))["final_test_accuracy"] == pytest.approx(accuracy)
    with pytest.raises(UsageError, match="judged_on='test data', not 'validation data'"):
        fit(model, data, [tickets_in(tmp_path / "run", levels=0)])


def test_updates_that_never_come(data, tmp_path):
    optimizer = keras.optimizers.Adam(gradient_accumulation_steps=100)
    with pytest.raises(UsageError, match="Use a smaller gradient_accumulation_steps"):
        fit(new_model(optimizer), data, [tickets_in(tmp_path / "run")])


def test_bfloat16(data, tmp_path):
    keras.config.set_dtype_policy("bfloat16")
    try:
        tickets = tickets_in(tmp_path / "run")
        fit(new_model(), data, [tickets])
    finally:
        keras.config.set_dtype_policy("float32")
    assert tickets.run_dir.trained(Stage(1))["fc1/kernel"].dtype == np.float32
    assert tickets.run_dir.summary(Stage(1))["remaining"] == 592
