"""Gradual pruning: the tickets' network, weights and batches, pruned by TFMOT."""

import csv
import dataclasses
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments import gradual_learner
from experiments.default_config import default_config
from experiments.report import ReportOptions, report
from lth_tf.config import NETWORKS
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import set_masks, set_weights
from lth_tf.methods.densities import kept_weights
from lth_tf.methods.gradual import Gradual
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets import procedure
from lth_tf.tickets.find import find_tickets, new_model
from tests.conftest import ROOT, TINY

LENET = {"fc1/kernel": 235_200, "fc2/kernel": 30_000, "output/kernel": 1_000}
RATES = {"fc1/kernel": 0.2, "fc2/kernel": 0.2, "output/kernel": 0.1}
ABOUT = {"versions": {"keras": "3"}, "device": "CPU", "data": {"classes": 10}}

# Pruned at iterations 24, 34, 44 and 54 of 60; evaluated at 0, 20, 40 and 60.
SHORT = TINY.replace(
    method="gradual",
    final_density=(0.2107242, 0.02),
    prune_begin=0.4,
    prune_end=0.9,
    prune_frequency=10,
)


def train(config, data, path, jit="off"):
    run_dir = RunDir(path)
    with run_dir.writing(config, ABOUT):
        # off: the compiler takes its time
        find_tickets(config, data, run_dir, jit=jit, make_learner=gradual_learner.learner)
    return run_dir


@pytest.fixture(scope="module")
def run_dir(digits, tmp_path_factory):
    """Two final densities. Not to be written to."""
    return train(SHORT, digits, tmp_path_factory.mktemp("runs") / "lenet" / "gradual" / "seed_0")


def test_layers_keep_what_a_ticket_of_the_size_keeps():
    # Level 7: 0.8 ** 7 of the hidden layers, 0.9 ** 7 of the output layer.
    assert kept_weights(LENET, RATES, 56_094.78 / 266_200) == {
        "fc1/kernel": 49_325,
        "fc2/kernel": 6_291,
        "output/kernel": 478,
    }
    assert sum(kept_weights(LENET, RATES, 0.036).values()) == 9_583


def test_layers_keep_what_the_tickets_of_a_run_keep(finished_run):
    for level in (1, 2):
        masks = finished_run.mask(Stage(level))
        kept = kept_weights(LENET, RATES, finished_run.summary(Stage(level))["density"])
        assert {path: int(mask.sum()) for path, mask in masks.items()} == kept


def test_layers_of_rate_0_stay_dense():
    rates = {**RATES, "output/kernel": 0.0}
    kept = kept_weights(LENET, rates, 0.1)
    assert kept == {"fc1/kernel": 22_722, "fc2/kernel": 2_898}  # 1,000 of 26,620 are the output's
    with pytest.raises(UsageError, match="Expected final_density above 0.003757, the share of"):
        kept_weights(LENET, rates, 0.003)


def test_no_layer_loses_its_last_weight():
    with pytest.raises(UsageError, match="would prune the last weight of 'output/kernel'"):
        kept_weights({"fc": 100_000, "output/kernel": 10}, {"fc": 0.1, "output/kernel": 0.5}, 0.5)


@pytest.mark.parametrize(
    "fields, first, last, count",
    [
        ({}, 5_000, 25_000, 201),
        ({"iterations": 1_000}, 100, 500, 5),
        # The last is one at which the schedule has its final value, whatever the frequency.
        ({"iterations": 1_000, "prune_frequency": 150}, 100, 400, 3),
        ({"prune_begin": 0.0, "prune_end": 1.0}, 1, 49_901, 500),
    ],
)
def test_iterations_of_pruning(fields, first, last, count):
    iterations = fields.pop("iterations", 50_000)
    prunings = Gradual(**fields).prunings(iterations)
    assert (prunings[0], prunings[-1], len(prunings)) == (first, last, count)


def test_starts_as_the_tickets_do(run_dir, finished_run):
    found, expected = run_dir.origin(), finished_run.origin()
    assert found.keys() == expected.keys()
    for path, value in expected.items():
        np.testing.assert_array_equal(found[path], value)
    for path, value in finished_run.trained(Stage(0)).items():
        np.testing.assert_allclose(run_dir.trained(Stage(0))[path], value, atol=1e-4)


def test_trains_as_the_dense_network_until_the_first_pruning(run_dir):
    dense, pruned = run_dir.history(Stage(0)), run_dir.history(Stage(1))
    assert pruned["iteration"].tolist() == [0, 20, 40, 60]
    for name in ("train_loss", "validation_loss", "test_accuracy"):
        np.testing.assert_allclose(pruned[name][:2], dense[name][:2], rtol=1e-4)
    assert abs(pruned["validation_loss"][2] - dense["validation_loss"][2]) > 1e-2
    assert run_dir.summary(Stage(1))["iterations"] == 60


@pytest.mark.parametrize("level, kept", [(1, (49_325, 6_291, 478)), (2, (4_584, 585, 156))])
def test_each_layer_is_as_small_as_asked_for(run_dir, level, kept):
    masks, trained = run_dir.mask(Stage(level)), run_dir.trained(Stage(level))
    assert tuple(int(mask.sum()) for mask in masks.values()) == kept
    for path, mask in masks.items():
        np.testing.assert_array_equal(trained[path] != 0, mask)
    assert trained.keys() == run_dir.origin().keys()
    summary = run_dir.summary(Stage(level))
    assert (summary["remaining"], summary["total"]) == (sum(kept), 266_200)
    assert summary["density"] == sum(kept) / 266_200


def test_weights_go_as_the_schedule_says_and_stay_away(run_dir):
    first = [m["remaining"]["fc1/kernel"] for m in run_dir.metrics() if m["level"] == 1]
    # At iteration 40 the last pruning was at 34, a third of the way from 24 to 54.
    at_40 = round(235_200 - (235_200 - 49_325) * (1 - (2 / 3) ** 3))
    assert first == [235_200, 235_200, at_40, 49_325]


def test_early_stop_comes_after_the_last_pruning(run_dir):
    history, summary = run_dir.history(Stage(2)), run_dir.summary(Stage(2))
    assert history["iteration"][history["validation_loss"].argmin()] == 20
    assert summary["early_stop_iteration"] == 60
    assert summary["early_stop_validation_loss"] == history["validation_loss"][-1]
    assert summary["early_stop_validation_accuracy"] == history["validation_accuracy"][-1]
    assert summary["early_stop_test_accuracy"] == summary["final_test_accuracy"]


def test_accuracies_are_those_of_the_weights(run_dir, digits):
    model = new_model(SHORT, digits, "init")
    set_masks(model, run_dir.mask(Stage(1)))
    set_weights(model, run_dir.trained(Stage(1)))
    logits = model.predict(digits.test.images / np.float32(255), verbose=0)
    accuracy = np.mean(logits.argmax(-1) == digits.test.labels)
    assert run_dir.summary(Stage(1))["final_test_accuracy"] == pytest.approx(accuracy)
    assert accuracy > 0.8


def test_report_draws_it_beside_the_tickets(run_dir, finished_run, tmp_path):
    folders = [str(finished_run.path), str(run_dir.path)]
    files = {p.name: p for p in report(folders, ReportOptions(output_dir=str(tmp_path)))}
    rows = list(csv.DictReader(files["levels.csv"].read_text().splitlines()))
    sizes = {}
    for row in rows:
        if not row["control"]:
            sizes.setdefault(row["series"], []).append(row["remaining"])
    assert sizes == {
        "iterative": ["100.0", "80.04", "64.06"],
        "gradual pruning": ["100.0", "21.07", "2.0"],
    }
    curves = list(csv.DictReader(files["curves.csv"].read_text().splitlines()))
    assert {row["series"] for row in curves} > {"iterative", "gradual pruning"}
    assert "tickets.png" in files


def test_restart_skips_what_is_done_and_makes_the_same_bits(run_dir, digits, tmp_path):
    copy = RunDir(shutil.copytree(run_dir.path, tmp_path / "copy"))
    shutil.rmtree(copy.path / "level_02")
    times = {p: p.stat().st_mtime_ns for p in copy.path.glob("level_*/*")}
    train(SHORT, digits, copy.path)
    assert copy.metrics() == run_dir.metrics()
    for path, value in run_dir.trained(Stage(2)).items():
        np.testing.assert_array_equal(copy.trained(Stage(2))[path], value)
    assert {p: p.stat().st_mtime_ns for p in times} == times


def test_a_loss_that_is_not_finite(digits, tmp_path, monkeypatch):
    config = dataclasses.replace(SHORT, optimizer="sgd", learning_rate=1e30)

    # Level 0 would already fail: only the pruned level is trained.
    monkeypatch.setattr(procedure, "stages", lambda config: [Stage(1)])
    message = r"^Level 1 was not trained to its end\. The loss is not finite at iteration \d+\. Try"
    with pytest.raises(RunError, match=message):
        train(config, digits, tmp_path)
    assert RunDir(tmp_path).finished() == []


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--final_density=1.5"], "between 0 and 1. Received: final_density=1.5."),
        (["--final_density=0.2,x"], "Received: final_density='0.2,x'."),
        (["--final_density="], "Received: final_density="),
        (["--prune_begin=0.6"], "Received: prune_begin=0.6, prune_end=0.5 of 50000 iterations."),
        (["--iterations=100"], "Expected at least prune_frequency=100 iterations from prune_begin"),
        (["--prune_end=1.1"], "prune_end to be a number in [0.0, 1.0]. Received: prune_end=1.1."),
        (
            ["--precision=mixed_float16"],
            "Expected precision=float32: gradual pruning in tf_keras knows nothing else. "
            "Received: precision=mixed_float16.",
        ),
        (["--method=imp"], "Expected method=gradual of this program. Received: method=iterative."),
        (["--scope=global"], "Expected scope=layerwise"),
        (["--start=continue"], "--start, which is one of --method="),
        (["--final_densty=0.1"], "Received: --final_densty. Did you mean --final_density?"),
        (["--network"], "network"),
        (["--network=conv2", "--preset=warmup"], "--preset=warmup"),
        (["--network=alexnet"], f"{', '.join(NETWORKS.names())}. Received"),
        (["--network=resnet18", "--dataset=digits", "--final_density=0.01"], "above 0.01181"),
    ],
)
def test_mistake_is_one_line(flags, message, program_here, tmp_path):
    done = program_here("experiments.gradual", *flags)
    assert (done.code, done.out) == (2, "") and message in done.err
    assert done.err.startswith("error: ") and done.err.count("\n") == 1
    assert not list(tmp_path.rglob("config.json"))


def test_help_shows_the_values_of_the_network():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['gradual', '--network=conv2', '--help']\n"
        "try:\n"
        "    runpy.run_module('experiments.gradual', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert not {'tensorflow', 'keras', 'altair'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "--learning_rate (at least 0.0; default 0.0002)" in done.stdout
    assert "--final_density (default 0.036)" in done.stdout
    assert "--preset=dropout" in done.stdout


FLAGS = ("--dataset=digits", "--final_density=0.1", "--iterations=200", "--prune_frequency=20")


def test_dry_run(program_here, tmp_path):
    done = program_here("experiments.gradual", *FLAGS, "--dry_run")
    assert (done.code, done.err) == (0, "")
    out = done.out
    assert [line.split()[1:] for line in out.splitlines()[:2]] == [
        ["0", "100.00", "%", "remaining", "266,200", "weights"],
        ["1", "10.00", "%", "remaining", "26,620", "weights"],
    ]
    assert "1 replicate of 2 trainings of 200 iterations: 400 in all" in out
    assert "Pruned from iteration 20 to 100, every 20" in out
    assert not list(tmp_path.rglob("config.json"))


def test_killed_in_a_level_it_starts_that_level_again(program_here, tmp_path):
    path = tmp_path / "runs/lenet" / ("gradual," + ",".join(FLAGS).replace("--", ""))
    run_dir = RunDir(path / "seed_0")
    slow = subprocess.Popen(
        [sys.executable, "-m", "experiments.gradual", *FLAGS, "--jit=off"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    while not any(record["level"] == 1 for record in run_dir.metrics()):
        assert slow.poll() is None, slow.stderr.read()
        time.sleep(0.01)
    (child,) = children(slow.pid)
    slow.send_signal(signal.SIGKILL)
    slow.communicate()
    assert run_dir.finished() == [Stage(0)]

    done = program_here("experiments.gradual", *FLAGS, "--jit=off")
    assert done.code == 0, done.err
    lines = done.out.splitlines()
    assert lines[0] == "lenet on digits, 266,200 weights"
    assert "Pruned from iteration 20 to 100, every 20" in lines
    assert [line.split()[:2] for line in lines[7:9]] == [["0", "100.00"], ["1", "10.00"]]
    assert "-m experiments.lenet --dataset=digits --iterations=200" in lines[10]
    assert lines[11].endswith("-m experiments.report runs/lenet")
    assert lines[12].endswith(f"-m export --run={run_dir.path.relative_to(tmp_path)} --level=1")
    iterations = [record["iteration"] for record in run_dir.metrics() if record["level"] == 1]
    assert iterations == [0, 100, 200]
    assert not pathlib.Path(f"/proc/{child}").exists()


def children(pid):
    return map(int, pathlib.Path(f"/proc/{pid}/task/{pid}/children").read_text().split())


@pytest.mark.slow
def test_compiled_with_xla_it_is_the_same(run_dir, digits, tmp_path):
    compiled = train(SHORT, digits, tmp_path, jit="on")
    for level in (1, 2):
        one, other = run_dir.history(Stage(level)), compiled.history(Stage(level))
        np.testing.assert_allclose(one["validation_loss"], other["validation_loss"], rtol=1e-3)
        masks = compiled.mask(Stage(level))
        assert [m.sum() for m in masks.values()] == [
            m.sum() for m in run_dir.mask(Stage(level)).values()
        ]


@pytest.mark.slow
@pytest.mark.parametrize(
    "network, some",
    [
        ("conv2", {"conv1_1/kernel": 975, "fc1/kernel": 1_247_590, "output/kernel": 1_444}),
        ("resnet18", {"conv1/kernel": 126, "output/kernel": 640}),
    ],
)
def test_convolutional_networks(network, some, digits_rgb, tmp_path):
    own, _ = default_config(network)
    config = own.replace(
        method="gradual",
        scope="layerwise",
        dataset="digits",
        iterations=40,
        batch_size=32,
        lr_drops=(5,),
        warmup_iterations=3,
        eval_interval=5,
        test_interval=0,
        final_density=(0.3,),
        prune_begin=0.3,
        prune_end=0.8,
        prune_frequency=5,
    )
    run_dir = train(config, digits_rgb, tmp_path)
    dense, pruned = run_dir.history(Stage(0)), run_dir.history(Stage(1))
    for name in ("train_loss", "validation_loss"):
        np.testing.assert_allclose(pruned[name][:2], dense[name][:2], rtol=5e-4)
    masks, trained = run_dir.mask(Stage(1)), run_dir.trained(Stage(1))
    assert run_dir.summary(Stage(1))["density"] == pytest.approx(0.3, abs=1e-4)
    assert trained.keys() == run_dir.origin().keys()
    for path, mask in masks.items():
        np.testing.assert_array_equal(trained[path] != 0, mask)
        assert mask.all() == ("shortcut" in path or mask.sum() == 640), path
    assert {path: int(masks[path].sum()) for path in some} == some
