import signal

import keras
import numpy as np
import pytest

from lth_tf import signals
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.callback import TicketCallback

NUMBER = signal.SIGTERM


@pytest.fixture(autouse=True)
def exceptions():
    """SIGTERM raises, as in programs; by default it would end this process."""
    before = signal.getsignal(NUMBER)
    with signals.raised():
        yield
    assert signal.getsignal(NUMBER) == before


class Send(keras.callbacks.Callback):
    """Sends a signal in the middle of an epoch."""

    def __init__(self, epoch, error=False):
        super().__init__()
        self.epoch, self.error, self.went_on = epoch, error, False

    def on_epoch_begin(self, epoch, logs=None):
        self.now = epoch == self.epoch

    def on_train_batch_end(self, batch, logs=None):
        if self.now and self.error:
            raise ZeroDivisionError
        if self.now and batch == 0:
            signal.raise_signal(NUMBER)
        self.went_on |= self.now


def fit(folder, *others):
    keras.utils.set_random_seed(0)
    model = keras.Sequential(
        [keras.Input((8,)), keras.layers.Dense(5, name="fc"), keras.layers.Dense(1, name="out")]
    )
    model.compile("adam", "mse")
    inputs = np.random.default_rng(0).normal(size=(64, 8)).astype("float32")
    targets = inputs[:, :1]
    # No checkpoint would be written by the clock.
    tickets = TicketCallback(
        folder, epochs_per_level=3, levels=1, checkpoint_seconds=1000, verbose=0, metric="loss"
    )
    model.fit(
        inputs,
        targets,
        batch_size=16,
        validation_split=0.25,
        epochs=tickets.epochs,
        callbacks=[tickets, *others],
        shuffle=False,
        verbose=0,
    )


def trained(folder):
    return RunDir(folder).trained(Stage(1))


def test_the_epoch_is_trained_to_its_end_and_kept(tmp_path, capfd):
    fit(tmp_path / "whole")
    send = Send(epoch=1)
    with pytest.raises(signals.Stopped):
        fit(tmp_path / "two", send)
    assert send.went_on
    assert "Kept: level_00 to epoch 2. The same fit goes on" in capfd.readouterr().out
    assert RunDir(tmp_path / "two").progress(Stage(0))["epoch"] == 2
    fit(tmp_path / "two")
    for path, value in trained(tmp_path / "whole").items():
        np.testing.assert_array_equal(value, trained(tmp_path / "two")[path])


def test_a_finished_level_is_kept(tmp_path, capfd):
    with pytest.raises(signals.Stopped):
        fit(tmp_path / "run", Send(epoch=2))
    assert "Kept: level_00. " in capfd.readouterr().out
    assert RunDir(tmp_path / "run").has(Stage(0))


def test_nothing_is_waited_for_before_epochs_are_known_to_be_short(tmp_path):
    send = Send(epoch=0)
    with pytest.raises(signals.Stopped):
        fit(tmp_path / "run", send)
    assert not send.went_on


def test_after_a_fit_that_failed_signals_have_their_effect(tmp_path):
    with pytest.raises(ZeroDivisionError):
        fit(tmp_path / "run", Send(epoch=1, error=True))
    with pytest.raises(signals.Stopped):
        signal.raise_signal(NUMBER)
