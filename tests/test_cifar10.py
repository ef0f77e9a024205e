"""Every convolutional network on real CIFAR-10 images; takes minutes."""

import dataclasses
import importlib
import os
import pathlib
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments.report import ReportOptions, report
from lth_tf import datasets, networks, pruning
from lth_tf.datasets import Split
from lth_tf.errors import UsageError
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from tests.small_runs import Starts, assert_same_results, run

ROOT = pathlib.Path(__file__).parents[1]

# The paper's values but for what must be small on a CPU.
CHANGES = {
    "conv2": {},
    "conv4": {},
    "conv6": {},
    "resnet18": {"batch_size": 32, "learning_rate": 0.01},
    "vgg19": {"batch_size": 16, "learning_rate": 0.01},
}


def small_experiment(network):
    """Returns a config of 200 iterations and one level, and 5,000 images."""
    config = dataclasses.replace(
        importlib.import_module(f"experiments.{network}").CONFIG,
        iterations=200,
        eval_interval=50,
        test_interval=100,
        levels=1,
        lr_drops=(150,),
        **CHANGES[network],
    )
    data = datasets.load("cifar10", image_shape=networks.image_shape(network), seed=0)

    def some(split, count):
        return Split(split.images[:count], split.labels[:count])

    return config, dataclasses.replace(
        data,
        train=some(data.train, 4_000),
        validation=some(data.validation, 500),
        test=some(data.test, 500),
    )


@pytest.fixture(scope="module")
def cifar10():
    try:
        datasets.load("cifar10", image_shape=(32, 32, 3), seed=0)
    except UsageError:
        pytest.skip("CIFAR-10 is not prepared on this machine")


def killed_and_resumed(network, folder):
    """Runs the experiment in a process, kills it in each level, and lets it end."""
    code = (
        "import sys; from tests.small_runs import run;"
        "from tests.test_cifar10 import small_experiment;"
        f"run(sys.argv[1], *small_experiment({network!r}), checkpoint_seconds=0)"
    )
    command = [sys.executable, "-c", code, str(folder)]
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    metrics = folder / "metrics.jsonl"
    for level in (0, 1):
        child = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        while child.poll() is None:
            lines = metrics.read_text().splitlines() if metrics.exists() else []
            if sum(f'"level": {level},' in line for line in lines) >= 3:
                child.kill()
            time.sleep(0.01)
        assert child.returncode == -signal.SIGKILL
    subprocess.run(command, env=environment, stderr=subprocess.DEVNULL, check=True)
    return RunDir(folder)


@pytest.mark.slow
@pytest.mark.parametrize("network", CHANGES)
def test_learns_prunes_rewinds_resumes_and_reports(cifar10, network, tmp_path, monkeypatch):
    config, data = small_experiment(network)
    starts = Starts(monkeypatch).models
    whole = run(tmp_path / "runs" / "whole" / "seed_0", config, data)
    for level in (0, 1):
        losses = [
            record["train_loss"]
            for record in whole.metrics()
            if record["level"] == level and "train_loss" in record
        ]
        print(network, level, losses)
        assert losses[-1] < 0.97 * losses[0]
    model = networks.build(network, data.image_shape, 10, config.seed)
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())
    sizes = {path: mask.size for path, mask in whole.mask(Stage(0)).items()}
    planned = pruning.plan(sizes, rates, config)
    assert [whole.summary(Stage(level))["remaining"] for level in (0, 1)] == planned
    kept, start = starts["level_01"]
    origin = whole.origin()
    for path, value in start.items():
        np.testing.assert_array_equal(value, origin[path] * kept.get(path, 1))
    resumed = killed_and_resumed(network, tmp_path / "killed" / "default" / "seed_0")
    assert_same_results(whole, resumed)
    files = report([str(whole.path)], ReportOptions(output_dir=str(tmp_path / "report")))
    assert {file.name for file in files} >= {"report.html", "tickets.png", "curves.png"}
