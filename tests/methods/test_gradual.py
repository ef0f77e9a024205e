"""Gradual pruning in the compiled loop."""

import numpy as np
import pytest

from experiments import gradual_learner
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from tests.conftest import TINY
from tests.small_runs import run

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


@pytest.mark.parametrize(
    "schedule", [pytest.param("polynomial", marks=pytest.mark.slow), "constant"]
)
def test_masks_are_those_of_tfmot(run_dir, digits, tmp_path, schedule):
    config = SHORT.replace(prune_schedule=schedule)
    if schedule != "polynomial":
        config = config.replace(final_density=(0.2107242,))
        run_dir = run(tmp_path / "ours", config, digits, jit="off")
    other = RunDir(tmp_path / "tfmot")
    with other.writing(config, {}):
        find_tickets(config, digits, other, jit="off", make_learner=gradual_learner.learner)
    for level in range(1, 1 + len(config.method.final_density)):
        ours, theirs = run_dir.mask(Stage(level)), other.mask(Stage(level))
        for path, mask in theirs.items():
            # Weights that differ by rounding change places at the border.
            assert (ours[path] != mask).mean() < 1e-4, path
            assert ours[path].sum() == mask.sum()
    if schedule == "constant":
        summary = run_dir.summary(Stage(1))
        assert summary["early_stop_iteration"] == other.summary(Stage(1))["early_stop_iteration"]


@pytest.mark.parametrize("level, kept", [(1, (49_325, 6_291, 478)), (2, (4_584, 585, 156))])
def test_each_layer_is_as_small_as_asked_for(run_dir, level, kept):
    masks, trained = run_dir.mask(Stage(level)), run_dir.trained(Stage(level))
    assert tuple(int(mask.sum()) for mask in masks.values()) == kept
    for path, mask in masks.items():
        np.testing.assert_array_equal(trained[path] != 0, mask)


def test_early_stop_is_not_before_the_last_pruning(run_dir):
    for level, first in ((0, 0), (1, 54), (2, 54)):
        assert run_dir.summary(Stage(level))["early_stop_iteration"] >= first


@pytest.mark.optimized
def test_level_0_is_dense(run_dir, finished_run):
    for path, value in finished_run.trained(Stage(0)).items():
        np.testing.assert_array_equal(run_dir.trained(Stage(0))[path], value)
