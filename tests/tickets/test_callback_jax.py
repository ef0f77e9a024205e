"""TicketCallback under the JAX backend, in a process of its own."""

import importlib.util
import os
import pathlib
import subprocess
import sys

import pytest

ROOT = pathlib.Path(__file__).parents[2]

SCRIPT = """
import sys

sys.modules["tensorflow"] = None  # importing it fails, as where it is not installed

import keras
import numpy as np
from sklearn.datasets import load_digits

import lth_tf
from lth_tf import Stage
from lth_tf.masking.variables import stored_value
from lth_tf.masking.model import weight_variables

assert keras.backend.backend() == "jax"
x, y = load_digits(return_X_y=True)
x, y = (x / 16).astype("float32")[:256], y[:256]
L = keras.layers


def dense():
    return [L.Dense(20, "relu", name="fc1"), L.BatchNormalization(name="norm"), L.Dropout(0.2)]


def conv():
    return [L.Reshape((8, 8, 1)), L.Conv2D(4, 3, name="conv"), L.Flatten()]


class Starts(keras.callbacks.Callback):
    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_begin(self, batch, logs=None):
        if batch == 0:
            self.seen.append((lth_tf.get_weights(self.model), int(self.model.optimizer.iterations)))

    def on_epoch_end(self, epoch, logs=None):
        for path, mask in lth_tf.get_masks(self.model).items():
            assert not stored_value(weight_variables(self.model)[path])[mask == 0].any()


def run(made, folder, pieces):
    keras.utils.set_random_seed(0)
    model = keras.Sequential([keras.Input((64,)), *made(), L.Dense(10, name="out")])
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile("adam", loss, metrics=["accuracy"])
    starts = Starts()
    while True:
        tickets = lth_tf.TicketCallback(
            folder, epochs_per_level=2, levels=2, prune_rates=0.5, verbose=0, test_data=(x, y)
        )
        if not tickets.epochs:
            return tickets.run_dir, starts, model
        model.fit(
            x, y, validation_data=(x, y), epochs=1 if pieces else tickets.epochs, verbose=0,
            shuffle=False, callbacks=[tickets, starts],
        )


for made in (dense, conv):
    run_dir, starts, model = run(made, f"{sys.argv[1]}/{made.__name__}", pieces=False)
    sizes = {path: mask.size for path, mask in run_dir.mask(Stage(0)).items()}
    for level in range(3):
        weights, updates = starts.seen[2 * level]
        assert updates == 0
        for path, value in run_dir.ticket(level).items():
            np.testing.assert_array_equal(weights[path], value)
        for path, mask in run_dir.mask(Stage(level)).items():
            assert mask.sum() == sizes[path] // 2**level, (path, level)
            assert not run_dir.trained(Stage(level))[path][mask == 0].any()
    accuracy = model.evaluate(x, y, verbose=0, return_dict=True)["accuracy"]
    assert abs(run_dir.summary(Stage(2))["final_test_accuracy"] - accuracy) < 1e-6
    pieces, _, _ = run(made, f"{sys.argv[1]}/{made.__name__}_pieces", pieces=True)
    for path, value in run_dir.trained(Stage(2)).items():
        np.testing.assert_array_equal(pieces.trained(Stage(2))[path], value)
    print(made.__name__, [run_dir.summary(Stage(n))["remaining"] for n in range(3)])

for method, options in (("gradual", {"prune_frequency": 2}), ("rigl", {}), ("edge_popup", {})):
    tickets = lth_tf.TicketCallback(
        f"{sys.argv[1]}/{method}", epochs_per_level=2, levels=1, method=method, verbose=0, **options
    )
    try:
        model.fit(x, y, validation_data=(x, y), epochs=2, verbose=0, callbacks=[tickets])
    except lth_tf.UsageError as error:
        print(method, str(error).partition("Received: ")[2].partition(".")[0])


class Kept(keras.callbacks.Callback):
    seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(int(lth_tf.get_masks(self.model)["fc1/kernel"].sum()))


keras.utils.set_random_seed(0)
model = keras.Sequential([keras.Input((64,)), *dense(), L.Dense(10, name="out")])
loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
model.compile(keras.optimizers.SGD(0.1, momentum=0.9), loss)
prune = lth_tf.PruneCallback(0.1, begin_step=4, end_step=12, frequency=4, verbose=0)
model.fit(x, y, epochs=2, verbose=0, callbacks=[prune, Kept()])
for path, mask in lth_tf.get_masks(model).items():
    stored = stored_value(weight_variables(model)[path])
    assert not stored[mask == 0].any() and stored[mask == 1].all()
print("PruneCallback", Kept.seen)
"""


@pytest.mark.skipif(importlib.util.find_spec("jax") is None, reason="needs jax")
def test_counts_zeros_and_rewinding_under_jax(tmp_path):
    about = {"PYTHONPATH": str(ROOT), "KERAS_BACKEND": "jax", "XLA_FLAGS": ""}
    environment = {**os.environ, **about}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, str(tmp_path)],
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    assert done.stdout.splitlines() == [
        "dense [1480, 740, 370]",
        "conv [1476, 738, 369]",
        "gradual the backend jax of Keras",
        "rigl the backend jax of Keras",
        "edge_popup the backend jax of Keras",
        # 1,280 weights; 0.1 + 0.9 * 0.5 ** 3 of them are kept from step 8 on.
        f"PruneCallback {[1280] * 7 + [272] * 4 + [128] * 5}",
    ]
