"""Trainings that are shared out over devices and machines."""

import json
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import numpy as np
import pytest

import lth_tf
from lth_tf import datasets, networks
from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.methods.hooks import Hooks
from lth_tf.runs.following import Following
from lth_tf.runs.stage import Stage
from lth_tf.training import devices, replicas

ROOT = pathlib.Path(__file__).parents[2]
ENVIRONMENT = {**os.environ, "PYTHONPATH": str(ROOT), "TF_CPP_MIN_LOG_LEVEL": "3"}

MIRRORED = """
import dataclasses, sys
import keras, numpy as np, tensorflow as tf
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
import lth_tf
from lth_tf import datasets
from lth_tf.config import ExperimentConfig
from keras import layers

def network(input_shape, classes):
    return keras.Sequential([
        keras.Input(input_shape),
        layers.Conv2D(4, 3, kernel_regularizer=keras.regularizers.L2(0.01), name="conv1"),
        layers.BatchNormalization(momentum=0.9, name="bn"),
        layers.ReLU(), layers.GlobalAveragePooling2D(), layers.Dense(classes, name="output")])

data = datasets.load("digits", image_shape=(8, 8, 1), validation_size=51)
config = ExperimentConfig(
    network=network, dataset="digits", iterations=12, batch_size=32, eval_interval=5,
    test_interval=5, levels=0, optimizer="momentum", learning_rate=0.1, weight_decay=0.01,
    augment=True, prune_rate_conv=0.2)
for name in ("one", "mirrored"):
    lth_tf.find_tickets(config, data, f"{sys.argv[1]}/{name}", devices=name, jit="off")
"""


def test_two_devices_have_the_results_of_one_up_to_rounding(tmp_path):
    subprocess.run([sys.executable, "-c", MIRRORED, str(tmp_path)], check=True, env=ENVIRONMENT)
    one, two = (lth_tf.RunDir(tmp_path / name) for name in ("one", "mirrored"))
    trained = two.trained(Stage(0))
    for path, value in one.trained(Stage(0)).items():
        np.testing.assert_allclose(trained[path], value, rtol=2e-4, atol=2e-5)
    for name, column in one.history(Stage(0)).items():
        np.testing.assert_allclose(two.history(Stage(0))[name], column, rtol=2e-4)
    # Rounded otherwise, so it was shared out.
    assert any((trained[path] != value).any() for path, value in one.trained(Stage(0)).items())


def test_what_replicas_cannot_share_is_refused():
    config = ExperimentConfig(batch_size=60)
    model = networks.build("lenet", (28, 28, 1), 10, seed=0)
    dropout = networks.build("conv2", (8, 8, 3), 10, seed=0, dropout_rate=0.5)

    class Own(Hooks):
        pass

    replicas.check(model, config, Hooks(), 4)
    for arguments, message in (
        ((model, config, None, 7), "that 7 replicas share .* Received: batch_size=60. Use devices"),
        ((model, config, Own(), 2), "Received: a method that changes updates."),
        ((dropout, config, None, 2), "Received: a network with dropout."),
        ((model, config.replace(precision="mixed_float16"), None, 2), "'mixed_float16'."),
    ):
        with pytest.raises(UsageError, match=message):
            replicas.check(*arguments)


def test_choices_of_devices(monkeypatch):
    monkeypatch.delenv("TF_CONFIG", raising=False)
    with pytest.raises(UsageError, match="Expected TF_CONFIG to name the workers"):
        devices.strategy("multi_worker")
    with pytest.raises(UsageError, match="Received: devices='two'."):
        devices.strategy("two")
    assert devices.strategy("one").num_replicas_in_sync == 1


def test_a_follower_writes_nothing_and_waits(tmp_path, finished_run, monkeypatch):
    follower = Following(finished_run.path)
    before = sorted((p, p.stat().st_mtime_ns) for p in finished_run.path.rglob("*"))
    with follower.writing(finished_run.config()):
        follower.save_stage(Stage(0), {}, {}, None)
        follower.save_origin({})
        follower.save_progress(Stage(1), {})
        follower.append_metrics(Stage(1), {})
        follower.forget_metrics(Stage(1), -1)
        follower.delete()
    assert before == sorted((p, p.stat().st_mtime_ns) for p in finished_run.path.rglob("*"))
    monkeypatch.setattr("lth_tf.runs.following._SECONDS", 0.2)
    with pytest.raises(lth_tf.RunError, match="Expected the chief to write level_09 to"):
        follower.save_stage(Stage(9), {}, {}, None)


WORKER = """
import os, sys, time
import lth_tf
from lth_tf.training import devices
devices.strategy("multi_worker")
from lth_tf import datasets
from lth_tf.config import ExperimentConfig
from lth_tf.tickets.listener import RunListener

class Slow(RunListener):
    def evaluated(self, stage, evaluation):
        time.sleep(float(sys.argv[2]))

data = datasets.load("digits", image_shape=(28, 28, 1), validation_size=50)
config = ExperimentConfig(
    dataset="digits", iterations=20, batch_size=32, eval_interval=5, levels=1, seed=3)
try:
    lth_tf.find_tickets(
        config, data, sys.argv[1], devices="multi_worker", checkpoint_seconds=0.0,
        listeners=[Slow()])
except lth_tf.RunError as error:
    print(error)
    sys.stdout.flush()
    os._exit(1)
"""


def start(folder, seconds=0.0):
    """Starts two workers of one run."""
    ports = []
    for _ in range(2):
        with socket.socket() as free:
            free.bind(("localhost", 0))
            ports.append(free.getsockname()[1])
    cluster = {"worker": [f"localhost:{port}" for port in ports]}
    return [
        subprocess.Popen(
            [sys.executable, "-c", WORKER, str(folder), str(seconds)], text=True,
            stdout=subprocess.PIPE, stderr=subprocess.PIPE,
            env={**ENVIRONMENT, "TF_CONFIG": json.dumps(
                {"cluster": cluster, "task": {"type": "worker", "index": index}})},
        )
        for index in range(2)
    ]  # fmt: skip


@pytest.mark.slow
def test_two_workers_one_of_them_killed(tmp_path):
    config = ExperimentConfig(
        dataset="digits", iterations=20, batch_size=32, eval_interval=5, levels=1, seed=3
    )
    workers = start(tmp_path / "whole")
    for worker in workers:
        out, err = worker.communicate(timeout=400)
        assert worker.returncode == 0, (out, err)
    whole = lth_tf.RunDir(tmp_path / "whole")
    workers = start(tmp_path / "killed", 1.0)
    progress = tmp_path / "killed" / "progress" / "level_00.npz"
    until = time.monotonic() + 300
    while not progress.exists() and time.monotonic() < until:
        time.sleep(0.1)
    time.sleep(1.5)
    workers[1].send_signal(signal.SIGKILL)
    out, err = workers[0].communicate(timeout=400)
    workers[1].communicate()
    assert workers[0].returncode != 0
    assert "Lost another worker" in out, (out, err)
    for worker in start(tmp_path / "killed"):
        out, err = worker.communicate(timeout=400)
        assert worker.returncode == 0, (out, err)
    again = lth_tf.RunDir(tmp_path / "killed")
    for stage in (Stage(0), Stage(1)):
        for path, value in whole.trained(stage).items():
            np.testing.assert_array_equal(again.trained(stage)[path], value)
    one = lth_tf.find_tickets(
        config, datasets.load("digits", image_shape=(28, 28, 1), validation_size=50),
        tmp_path / "one", jit="off", step="dense",
    )  # fmt: skip
    for path, value in one.trained(Stage(1)).items():
        np.testing.assert_allclose(again.trained(Stage(1))[path], value, rtol=1e-3, atol=1e-4)
