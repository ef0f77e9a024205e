import dataclasses
import itertools
import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lth_tf.errors import UsageError
from lth_tf.networks import NETWORKS
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from tests.small_runs import HUGE, Starts, assert_same_results, run


def test_counts_and_sizes_of_every_level(finished_run):
    remaining = [finished_run.summary(Stage(level))["remaining"] for level in range(3)]
    assert remaining == [266_200, 213_060, 170_538]
    for level in (1, 2):
        kept, before = finished_run.mask(Stage(level)), finished_run.mask(Stage(level - 1))
        assert {path: int(mask.sum()) for path, mask in kept.items()} == {
            1: {"fc1/kernel": 188_160, "fc2/kernel": 24_000, "output/kernel": 900},
            2: {"fc1/kernel": 150_528, "fc2/kernel": 19_200, "output/kernel": 810},
        }[level]
        trained = finished_run.trained(Stage(level - 1))
        for path in kept:
            assert (kept[path] <= before[path]).all()
            magnitude = np.abs(trained[path])
            pruned = (kept[path] == 0) & (before[path] == 1)
            assert magnitude[pruned].max() <= magnitude[kept[path] == 1].min()


def test_every_saved_file_has_exactly_the_zeros_of_its_mask(finished_run):
    for stage in finished_run.finished():
        trained = finished_run.trained(stage)
        for path, mask in finished_run.mask(stage).items():
            assert (trained[path][mask == 0] == 0).all()
            assert (trained[path][mask == 1] != 0).mean() > 0.999


def test_every_level_starts_from_mask_times_origin(tmp_path, tiny, digits, monkeypatch):
    starts = Starts(monkeypatch).models
    run_dir = run(tmp_path / "run", tiny, digits)
    origin = run_dir.origin()
    for level in range(3):
        kept, start = starts[f"level_{level:02d}"]
        for path, value in start.items():
            expected = origin[path] * kept[path] if path in kept else origin[path]
            np.testing.assert_array_equal(value, expected)
            np.testing.assert_array_equal(run_dir.ticket(level)[path], expected)


def test_continue_starts_from_mask_times_trained(tmp_path, tiny, digits, monkeypatch):
    starts = Starts(monkeypatch).models
    run_dir = run(tmp_path / "run", tiny.replace(start="continue"), digits)
    kept, start = starts["level_02"]
    trained = run_dir.trained(Stage(1))
    np.testing.assert_array_equal(start["fc1/kernel"], trained["fc1/kernel"] * kept["fc1/kernel"])
    np.testing.assert_array_equal(start["fc1/bias"], trained["fc1/bias"])


def test_rewinding_to_an_iteration(tmp_path, tiny, digits, monkeypatch):
    starts = Starts(monkeypatch).models
    config = tiny.replace(rewind_iteration=20, reinits=1)
    run_dir = run(tmp_path / "run", config, digits)
    whole = run(tmp_path / "whole", dataclasses.replace(tiny, iterations=20, levels=0), digits)
    for path, value in whole.trained(Stage(0)).items():
        np.testing.assert_array_equal(run_dir.origin()[path], value)
    kept, start = starts["level_01"]
    np.testing.assert_array_equal(
        start["fc1/kernel"], run_dir.origin()["fc1/kernel"] * kept["fc1/kernel"]
    )
    assert run_dir.history(Stage(1))["iteration"].tolist() == [20, 40, 60]
    # A new initialization has not been trained for the first iterations.
    assert run_dir.history(Stage(1, "reinit_0"))["iteration"].tolist() == [0, 20, 40, 60]


def test_oneshot_prunes_the_dense_network(tmp_path, tiny, digits):
    run_dir = run(tmp_path / "run", tiny.replace(strategy="oneshot"), digits)
    assert [run_dir.summary(Stage(n))["remaining"] for n in range(3)] == [266_200, 213_060, 170_538]
    magnitude = np.abs(run_dir.trained(Stage(0))["fc1/kernel"])
    kept = run_dir.mask(Stage(2))["fc1/kernel"] == 1
    assert magnitude[~kept].max() <= magnitude[kept].min()


def test_reinit_has_the_mask_and_other_weights(tmp_path, tiny, digits, monkeypatch):
    starts = Starts(monkeypatch).models
    run(tmp_path / "run", tiny.replace(levels=1, reinits=2), digits)
    kept, start = starts["level_01"]
    for k in range(2):
        mask, weights = starts[f"level_01/reinit_{k}"]
        np.testing.assert_array_equal(mask["fc1/kernel"], kept["fc1/kernel"])
        survivors = kept["fc1/kernel"] == 1
        assert (weights["fc1/kernel"] != start["fc1/kernel"])[survivors].mean() > 0.99
        spread = weights["fc1/kernel"][survivors].std()
        assert spread == pytest.approx((2 / 1084) ** 0.5, rel=0.02)
    one, other = (starts[f"level_01/reinit_{k}"][1]["fc1/kernel"] for k in range(2))
    assert (one != other).any()


@pytest.mark.parametrize("weights", ["new", "origin"])
def test_random_mask_has_the_counts_of_the_ticket(tmp_path, tiny, digits, monkeypatch, weights):
    starts = Starts(monkeypatch).models
    config = tiny.replace(levels=1, random_masks=1, random_mask_weights=weights)
    run_dir = run(tmp_path / "run", config, digits)
    kept, _ = starts["level_01"]
    mask, start = starts["level_01/random_0"]
    assert {k: int(v.sum()) for k, v in mask.items()} == {k: int(v.sum()) for k, v in kept.items()}
    both = sum(int((mask[path] & kept[path]).sum()) for path in mask)
    either = sum(int((mask[path] | kept[path]).sum()) for path in mask)
    assert both / either == pytest.approx(0.8 / 1.2, abs=0.01)
    from_origin = run_dir.origin()["fc1/kernel"] * mask["fc1/kernel"]
    assert np.array_equal(start["fc1/kernel"], from_origin) == (weights == "origin")


@pytest.mark.parametrize("strategy", ["iterative", "oneshot"])
def test_random_masks_of_the_origin_keep_dense_weights_where_tickets_are_continued(
    tmp_path, tiny, digits, monkeypatch, strategy
):
    starts = Starts(monkeypatch).models
    config = tiny.replace(
        start="continue",
        strategy=strategy,
        random_masks=1,
        random_mask_weights="origin",
        prune_rate_fc=0.5,
    )
    run_dir = run(tmp_path / "run", config, digits)
    origin = run_dir.origin()
    for level in (1, 2):
        kept, weights = starts[f"level_{level:02d}/random_0"]
        assert (kept["fc1/kernel"] != run_dir.mask(Stage(level))["fc1/kernel"]).any()
        for path, mask in kept.items():
            np.testing.assert_array_equal(weights[path], origin[path] * mask)
            assert np.count_nonzero(weights[path]) == mask.sum()


def test_finished_stages_are_skipped_and_more_can_be_added(tmp_path, tiny, digits, monkeypatch):
    first = run(tmp_path / "run", dataclasses.replace(tiny, levels=1), digits)
    trained = Starts(monkeypatch).models
    run(tmp_path / "run", tiny.replace(levels=2, reinits=1), digits)
    assert sorted(trained) == [
        "level_00/reinit_0",
        "level_01/reinit_0",
        "level_02",
        "level_02/reinit_0",
    ]
    at_once = run(tmp_path / "once", tiny.replace(levels=2, reinits=1), digits)
    assert first.finished() == at_once.finished()
    for stage in first.finished():
        np.testing.assert_array_equal(
            first.trained(stage)["fc1/kernel"], at_once.trained(stage)["fc1/kernel"]
        )


def test_levels_that_empty_a_layer_are_refused_before_training(tmp_path, tiny, digits):
    config = dataclasses.replace(tiny, levels=60)
    with pytest.raises(UsageError, match="would prune the last weight of 'output/kernel'"):
        run(tmp_path / "run", dataclasses.replace(config, prune_rate_output=0.9), digits)
    assert not list((tmp_path / "run").glob("level_*"))


def test_summary_agrees_with_metrics(finished_run):
    stage = Stage(1)
    summary = finished_run.summary(stage)
    lines = [r for r in finished_run.metrics() if (r["level"], r["control"]) == (1, "")]
    assert [r["iteration"] for r in lines] == [0, 20, 40, 60]
    assert "train_loss" not in lines[0]
    best = min(lines, key=lambda r: r["validation_loss"])
    assert best["iteration"] == summary["early_stop_iteration"]
    assert best["test_accuracy"] == summary["early_stop_test_accuracy"]
    assert lines[-1]["test_accuracy"] == summary["final_test_accuracy"]


ARGUMENTS = (
    "--dataset=digits",
    "--iterations=400",
    "--eval_interval=20",
    "--test_interval=0",
    "--levels=2",
    "--reinits=1",
    "--checkpoint_seconds=0",
    # auto times both steps, and two runs may take different ones.
    "--step=dense",
)


def kill_while_training(folder, runs_dir, seconds):
    """Starts a run, lets it train for some seconds and kills it; True if it still ran."""
    child = subprocess.Popen(
        [sys.executable, "-m", "experiments.lenet", *ARGUMENTS, f"--runs_dir={runs_dir}"],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(pathlib.Path(__file__).parents[2])},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    child.stderr.readline()  # the estimate: it trains
    time.sleep(seconds)
    child.kill()
    child.communicate()
    return child.returncode == -signal.SIGKILL


@pytest.mark.parametrize("kills", [1, pytest.param(4, marks=pytest.mark.slow)])
def test_killed_runs_end_as_uninterrupted_ones(program, tmp_path, monkeypatch, kills):
    """SIGKILL at random moments, then again the same command: bit for bit the same."""
    monkeypatch.setenv("XLA_FLAGS", "")
    whole = program("experiments.lenet", *ARGUMENTS, "--runs_dir=whole")
    assert whole.code == 0, whole.err
    shuffle = random.Random(time.time_ns())
    longest = 0.5 if kills == 1 else 1.5
    killed = [
        kill_while_training(tmp_path, "killed", shuffle.uniform(0, longest)) for _ in range(kills)
    ]
    assert sum(killed) >= (kills + 1) // 2
    done = program("experiments.lenet", *ARGUMENTS, "--runs_dir=killed")
    assert done.code == 0, done.err
    (one,), (other,) = (
        [RunDir(p.parent) for p in (tmp_path / name).rglob("config.json")]
        for name in ("whole", "killed")
    )
    assert_same_results(one, other)


# Networks that take a second or more a level: one combination, the others are slow.
LARGE = ("conv2", "conv4", "conv6", "resnet18", "vgg19")
COMBINATIONS = [
    pytest.param(
        network,
        *rest,
        marks=[pytest.mark.slow]
        if network in LARGE and rest != ("random", "oneshot", "rewind")
        else [],
    )
    for network in NETWORKS.names()
    if network not in HUGE
    for rest in itertools.product(
        ("none", "reinit", "random"), ("iterative", "oneshot"), ("rewind", "continue")
    )
]


@pytest.mark.parametrize(("network", "control", "strategy", "start"), COMBINATIONS)
def test_every_network_strategy_start_and_control(
    tmp_path, shared_trainer, network, strategy, start, control
):
    config, data = shared_trainer(network)
    config = config.replace(
        strategy=strategy,
        start=start,
        reinits=int(control == "reinit"),
        random_masks=int(control == "random"),
    )
    run_dir = run(tmp_path / "run", config, data)
    expected = [Stage(level, c) for level in (0, 1) for c in ("", f"{control}_0")]
    if control == "none":
        expected = [Stage(0), Stage(1)]
    assert run_dir.finished() == expected
    for stage in expected:
        trained, kept = run_dir.trained(stage), run_dir.mask(stage)
        assert all((trained[path][mask == 0] == 0).all() for path, mask in kept.items())
    assert 0 < run_dir.summary(Stage(1))["density"] < 0.95
    assert run_dir.config() == config
    shutil.rmtree(run_dir.path)  # 100 MB a level of VGG-19
