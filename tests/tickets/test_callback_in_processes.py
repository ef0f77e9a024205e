"""TicketCallback in programs that are killed, and on two devices."""

import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np

from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

ROOT = pathlib.Path(__file__).parents[2]

SCRIPT = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import sys
import keras
import tensorflow as tf
from sklearn.datasets import load_digits
import lth_tf

x, y = load_digits(return_X_y=True)
batches = tf.data.Dataset.from_tensor_slices(((x / 16).astype("float32"), y)).batch(32)
keras.utils.set_random_seed(0)
model = keras.Sequential(
    [
        keras.Input((64,)),
        keras.layers.Dense(200, "relu", name="fc1"),
        keras.layers.Dropout(0.3, name="dropout"),
        keras.layers.BatchNormalization(name="norm"),
        keras.layers.Dense(10, name="output"),
    ],
    name="small",
)
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile("adam", loss, metrics=["accuracy"])
tickets = lth_tf.TicketCallback(
    sys.argv[1], epochs_per_level=8, levels=2, checkpoint_seconds=0, test_data=batches,
    level_callbacks=[
        keras.callbacks.ReduceLROnPlateau("loss", 0.5, min_delta=0.2, patience=2),
        keras.callbacks.EarlyStopping(patience=6, restore_best_weights=True, mode="max"),
    ],
)
print("ready", flush=True)
model.fit(
    batches, validation_data=batches, epochs=tickets.epochs, callbacks=[tickets], verbose=0
)
"""


def start_script(folder):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-c", SCRIPT, str(folder)]
    return subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL)


def test_killed_fit_goes_on_to_the_same_bits(tmp_path):
    assert start_script(tmp_path / "whole").wait(timeout=300) == 0
    one = RunDir(tmp_path / "whole")
    kills = 0
    for level in (0, 1):
        child = start_script(tmp_path / "killed")
        wanted = tmp_path / "killed" / "metrics.jsonl"
        while child.poll() is None:
            lines = wanted.read_text().splitlines() if wanted.exists() else []
            if sum(f'"level": {level},' in line for line in lines) >= 3:
                child.send_signal(signal.SIGKILL)
                break
            time.sleep(0.005)
        kills += child.wait() == -signal.SIGKILL
    assert kills == 2
    assert start_script(tmp_path / "killed").wait(timeout=300) == 0
    other = RunDir(tmp_path / "killed")
    assert one.finished() == other.finished() == [Stage(0), Stage(1), Stage(2)]
    for stage in one.finished():
        for kind in ("mask", "trained", "history"):
            first, second = getattr(one, kind)(stage), getattr(other, kind)(stage)
            for name in first:
                np.testing.assert_array_equal(first[name], second[name])
        first, second = ({**run.summary(stage), "seconds": 0} for run in (one, other))
        assert first == second
    assert one.metrics() == other.metrics()


MIRRORED = """
import os
os.environ["TF_CPP_MIN_LOG_LEVEL"] = "3"
import sys
import keras
import numpy as np
import tensorflow as tf
from sklearn.datasets import load_digits

import lth_tf

cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
x, y = load_digits(return_X_y=True)
x = (x / 16).astype("float32")
keras.utils.set_random_seed(0)
with strategy.scope():
    model = keras.Sequential(
        [
            keras.Input((64,)),
            keras.layers.Dense(20, "relu", name="fc1"),
            keras.layers.BatchNormalization(name="norm"),
            keras.layers.Dense(10, name="output"),
        ]
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])


class Zeros(keras.callbacks.Callback):
    def on_train_batch_end(self, batch, logs=None):
        for name in ("fc1", "output"):
            layer = self.model.get_layer(name)
            mask = lth_tf.get_masks(self.model)[f"{name}/kernel"]
            for copy in layer._kernel.value.values:
                if np.count_nonzero(copy.numpy()[mask == 0]):
                    raise SystemExit("a pruned weight is not 0")


tickets = lth_tf.TicketCallback(sys.argv[1], epochs_per_level=2, levels=2, verbose=0)
model.fit(
    x, y, batch_size=64, validation_split=0.2, epochs=tickets.epochs,
    callbacks=[tickets, Zeros()], verbose=0,
)
print(strategy.num_replicas_in_sync, [tickets.run_dir.summary(s)["remaining"] for s in
      tickets.run_dir.finished()])
"""


def test_mirrored_strategy(tmp_path):
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED, str(tmp_path / "run")],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.stdout == "2 [1480, 1184, 947]\n", done.stderr[-3000:]
