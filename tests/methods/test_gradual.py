"""Gradual pruning in the compiled loop."""

import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from experiments import gradual_learner
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from tests.conftest import ROOT, TINY
from tests.small_runs import assert_same_results, run

# Pruned at iterations 24, 34, 44 and 54 of 60; evaluated at 0, 20, 40 and 60.
SHORT = TINY.replace(
    method="gradual",
    final_density=(0.2107242, 0.02),
    prune_begin=0.4,
    prune_end=0.9,
    prune_frequency=10,
)


@pytest.fixture(scope="module")
def run_dir(digits, tmp_path_factory):
    """Two final densities. Not to be written to."""
    return run(tmp_path_factory.mktemp("native") / "seed_0", SHORT, digits)


def test_masks_are_those_of_tfmot(run_dir, digits, tmp_path):
    other = RunDir(tmp_path / "tfmot")
    with other.writing(SHORT, {}):
        find_tickets(SHORT, digits, other, jit="off", make_learner=gradual_learner.learner)
    for level in (1, 2):
        ours, theirs = run_dir.mask(Stage(level)), other.mask(Stage(level))
        for path, mask in theirs.items():
            # Weights that differ by rounding change places at the border.
            assert (ours[path] != mask).mean() < 1e-4, path
            assert ours[path].sum() == mask.sum()


@pytest.mark.parametrize("level, kept", [(1, (49_325, 6_291, 478)), (2, (4_584, 585, 156))])
def test_each_layer_is_as_small_as_asked_for(run_dir, level, kept):
    masks, trained = run_dir.mask(Stage(level)), run_dir.trained(Stage(level))
    assert tuple(int(mask.sum()) for mask in masks.values()) == kept
    for path, mask in masks.items():
        np.testing.assert_array_equal(trained[path] != 0, mask)


def test_early_stop_is_not_before_the_last_pruning(run_dir):
    for level, first in ((0, 0), (1, 54), (2, 54)):
        assert run_dir.summary(Stage(level))["early_stop_iteration"] >= first


def test_level_0_is_dense(run_dir, finished_run):
    for path, value in finished_run.trained(Stage(0)).items():
        np.testing.assert_array_equal(run_dir.trained(Stage(0))[path], value)


def test_killed_between_prunings_it_goes_on_to_the_same_bits(run_dir, digits, tmp_path):
    code = (
        "import sys; from tests.small_runs import run;"
        "from tests.methods.test_gradual import SHORT; from lth_tf import datasets;"
        "run(sys.argv[1], SHORT, datasets.load('digits', image_shape=(28, 28, 1), seed=0),"
        "    checkpoint_seconds=0)"
    )
    other = RunDir(tmp_path / "seed_0")
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(other.path)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    # In the middle of level 1: masks are no longer those it started from.
    while not any(r["level"] == 1 and r["iteration"] == 40 for r in other.metrics()):
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.005)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    run(other.path, SHORT, digits, checkpoint_seconds=0)
    assert_same_results(run_dir, other)
