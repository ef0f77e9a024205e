"""TicketCallback beside callbacks that change weights, other data, and callbacks of its levels."""

import keras
import numpy as np
import pytest
from keras import layers as L
from sklearn.datasets import load_digits

from lth_tf.errors import UsageError
from lth_tf.masking.model import get_weights, set_masks, set_weights
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback
from lth_tf.tickets.running_fit import _digest

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
SWAP = keras.callbacks.SwapEMAWeights


@pytest.fixture(scope="module")
def data():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32)[:256], labels[:256].astype(np.int32)


def dense():
    return keras.Sequential(
        [keras.Input((64,)), L.Dense(16, "relu", name="fc1"), L.Dense(10, name="out")]
    )


def conv():
    layers = [
        L.Reshape((8, 8, 1)),
        L.Conv2D(4, 3, name="conv"),
        L.BatchNormalization(name="norm"),
        L.Flatten(),
        L.Dense(10, name="out"),
    ]
    return keras.Sequential([keras.Input((64,)), *layers])


def compiled(made=dense, optimizer=None, **options):
    keras.utils.set_random_seed(0)
    model = made()
    model.compile(
        optimizer or keras.optimizers.Adam(0.005, use_ema=True, ema_momentum=0.9),
        LOSS,
        metrics=["accuracy"],
        **options,
    )
    return model


def tickets_in(folder, **options):
    options = {"epochs_per_level": 2, "levels": 2, "verbose": 0, "prune_rates": 0.5} | options
    return TicketCallback(folder, **options)


def fit(model, data, callbacks, **options):
    (tickets,) = (c for c in callbacks if isinstance(c, TicketCallback))
    options = {"epochs": tickets.epochs, "validation_split": 0.25, "batch_size": 64} | options
    return model.fit(*data, callbacks=callbacks, verbose=0, shuffle=False, **options)


class Starts(keras.callbacks.Callback):
    """Keeps the weights that each epoch's first batch is trained on."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.seen.append(get_weights(self.model))


class Scale(keras.callbacks.Callback):
    """Halves all weights at the end of every epoch."""

    def on_epoch_end(self, epoch, logs=None):
        for weight in self.model.trainable_variables:
            weight.assign(weight / 2)


class Zero(keras.callbacks.Callback):
    """Sets all weights to 0 when an epoch begins, as a swap back of averages may."""

    def on_epoch_begin(self, epoch, logs=None):
        if epoch in (2, 4):
            for weight in self.model.trainable_variables:
                weight.assign(0 * weight)


@pytest.mark.parametrize("made", [pytest.param(dense, marks=pytest.mark.slow), conv])
@pytest.mark.parametrize(
    "others",
    [
        lambda t: [t, SWAP(swap_on_epoch=True)],
        lambda t: [t, SWAP()],
        lambda t: [SWAP(), t],
        lambda t: [t, Scale()],
        lambda t: [Scale(), t],
        lambda t: [t, Zero()],
        lambda t: [Zero(), t],
    ],
    ids=["ticket,swap each", "ticket,swap", "swap,ticket", "t,scale", "scale,t", "t,0", "0,t"],
)
def test_levels_start_from_the_origin_and_hold_what_was_validated(data, tmp_path, made, others):
    tickets, starts = tickets_in(tmp_path / "run"), Starts()
    model = compiled(made)
    fit(model, data, [*others(tickets), starts])
    run_dir, held_out = tickets.run_dir, (data[0][192:], data[1][192:])
    for level in range(3):
        for path, value in run_dir.ticket(level).items():
            np.testing.assert_array_equal(starts.seen[2 * level][path], value)
        trained = run_dir.trained(Stage(level))
        assert np.abs(trained["out/kernel"]).max() > 0
        set_masks(model, run_dir.mask(Stage(level)))
        set_weights(model, trained)
        accuracy = model.evaluate(*held_out, verbose=0, return_dict=True)["accuracy"]
        assert run_dir.summary(Stage(level))["final_test_accuracy"] == pytest.approx(accuracy)


def test_fit_in_pieces_beside_averages_is_fit_at_once(data, tmp_path):
    fit(compiled(), data, [tickets_in(tmp_path / "once"), SWAP(swap_on_epoch=True)])
    model = compiled()
    while (tickets := tickets_in(tmp_path / "pieces")).epochs:
        fit(model, data, [tickets, SWAP(swap_on_epoch=True)], epochs=1)
    for level in range(3):
        one, other = (RunDir(tmp_path / n).trained(Stage(level)) for n in ("once", "pieces"))
        for path, value in one.items():
            np.testing.assert_array_equal(other[path], value)


@pytest.mark.parametrize(
    "others, message",
    [
        (lambda t, f: [SWAP(swap_on_epoch=True), t], "Put TicketCallback first"),
        (
            lambda t, f: [t, keras.callbacks.EarlyStopping(restore_best_weights=True)],
            "Put it into level_callbacks=",
        ),
        (lambda t, f: [t, keras.callbacks.BackupAndRestore(f / "backup")], "Leave it out"),
        (lambda t, f: [t, t], "Expected one TicketCallback in a fit. Received: 2"),
    ],
    ids=["swap first", "restores last", "backup", "twice"],
)
def test_what_cannot_work_is_refused_when_fit_begins(data, tmp_path, others, message):
    tickets = tickets_in(tmp_path / "run")
    with pytest.raises(UsageError, match=message):
        compiled().fit(
            *data, callbacks=others(tickets, tmp_path), epochs=2, validation_split=0.25, verbose=0
        )
    assert not (tmp_path / "run").exists()


def test_two_ticket_callbacks_are_refused(data, tmp_path):
    both = [tickets_in(tmp_path / "a"), tickets_in(tmp_path / "b")]
    with pytest.raises(UsageError, match="Expected one TicketCallback"):
        compiled().fit(*data, callbacks=both, epochs=2, validation_split=0.25, verbose=0)
    with pytest.raises(UsageError, match="Received: a TicketCallback"):
        tickets_in(tmp_path / "c", level_callbacks=[both[0]])
    with pytest.raises(UsageError, match="Received: initial_epoch=1"):
        fit(compiled(), data, [both[0]], initial_epoch=1)


class Counting(keras.callbacks.Callback):
    """Has state of many kinds, all its own."""

    def __init__(self, seen):
        super().__init__()
        self.losses, self.best, self.epochs = [], {"loss": None, "at": [0]}, set()
        self.array, self.number, self.report = np.zeros(2), 0, seen.append

    def on_epoch_end(self, epoch, logs=None):
        self.losses.append(logs["loss"])
        self.best["loss"] = min(self.losses)
        self.best["at"].append(epoch)
        self.epochs.add(epoch)
        self.array += 1
        self.number += 1
        self.made = getattr(self, "made", 0) + 1

    def on_train_end(self, logs=None):
        found = (len(self.losses), self.best["at"], self.epochs, self.array[0], self.number)
        self.report((*found, self.made))


def test_level_callbacks_begin_anew_with_lists_and_dicts_of_their_own(data, tmp_path):
    seen, history = [], keras.callbacks.History()
    tickets = tickets_in(tmp_path / "run", level_callbacks=[Counting(seen), history])
    fit(compiled(), data, [tickets])
    assert seen == [(2, [0, 0, 1], {0, 1}, 2, 2, 2)] * 3
    assert len(history.history["loss"]) == 2


def test_level_callbacks_go_on_with_lists_and_dicts_of_their_own(data, tmp_path):
    seen, model = [], compiled()
    for _ in range(4):
        tickets = tickets_in(tmp_path / "run", levels=1, level_callbacks=[Counting(seen)])
        fit(model, data, [tickets], epochs=1)
    # The set and the array are not in a checkpoint.
    assert [(n, at, number) for n, at, _, _, number, _ in seen] == [(2, [0, 0, 1], 2)] * 2


def other_inputs(x, y):
    return x + 1, y


def other_labels(x, y):
    return x, y[::-1].copy()


def fewer(x, y):
    return x[:192], y[:192]


@pytest.mark.parametrize("finished", [True, False])
@pytest.mark.parametrize(
    "change, options, message",
    [
        (other_inputs, {}, "it has inputs float32"),
        (other_labels, {}, "it has labels int32"),
        (fewer, {}, r"inputs float32 \(192, 64\) \w+, not float32 \(144, 64\)"),
        (None, {"batch_size": 32}, "batch size 64, not 32"),
        (None, {"class_weight": {0: 2.0}}, "class weights none, not"),
        (None, {"sample_weight": np.ones(256)}, "sample weights none, not float"),
        (None, {"validation_split": 0.5}, "validation inputs"),
    ],
    ids=["inputs", "labels", "fewer", "batch", "class weights", "sample weights", "validation"],
)
def test_other_data_are_refused(data, tmp_path, finished, change, options, message):
    levels = {"levels": 0}
    epochs = {} if finished else {"epochs": 1}
    fit(compiled(), data, [tickets_in(tmp_path / "run", **levels)], **epochs)
    before = {p: p.read_bytes() for p in (tmp_path / "run").rglob("*") if p.is_file()}
    with pytest.raises(UsageError, match=message):
        fit(
            compiled(),
            change(*data) if change else data,
            [tickets_in(tmp_path / "run", **levels)],
            **options,
        )
    assert {p: p.read_bytes() for p in before} == before


def test_finished_run_says_that_nothing_is_trained(data, tmp_path, capsys):
    fit(compiled(), data, [tickets_in(tmp_path / "run", levels=0)])
    fit(compiled(), data, [tickets_in(tmp_path / "run", levels=0, verbose=1)])
    assert "are done: nothing is trained" in capsys.readouterr().out


def test_fingerprints_of_many_kinds_of_data():
    import tensorflow as tf

    rows = np.arange(12.0).reshape(4, 3)
    same = _digest(rows)
    assert same == _digest(rows.copy()) == _digest(tf.constant(rows)) == _digest([rows])
    assert same.startswith("float64 (4, 3) ")
    assert same != _digest(rows[::-1])
    assert _digest(np.array(["a", "b"], object)) != _digest(np.array(["a", "c"], object))
    assert _digest({"a": rows, "b": rows}) == f"{same}, {same}"
    batches = tf.data.Dataset.from_tensor_slices((rows, rows)).batch(2)
    assert _digest(batches) == "BatchDataset of float64 (None, 3), float64 (None, 3)"
    large = np.zeros((2**17, 256), np.float32)
    other = large.copy()
    other[-1] = 1
    assert _digest(large) != _digest(other)
