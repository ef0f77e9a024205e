"""Which step trains a level, and that a level goes on with the step it was begun with."""

import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.masking.model import get_masks, get_weights, set_masks
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from lth_tf.training.choice import Loops
from lth_tf.training.trainer import Trainer
from tests.small_runs import assert_same_results

LONG = ExperimentConfig(dataset="digits", iterations=1_000, batch_size=32, eval_interval=20)
SHORT = LONG.replace(iterations=60, levels=2, prune_rate_fc=0.6, test_interval=20, reinits=1)


@pytest.fixture
def timing(monkeypatch):
    """Seconds that the dense and the sparse step are said to take; and how often that is asked."""
    found = {"seconds": (2.0, 1.0), "asked": 0}

    def seconds(loops, iteration):
        found["asked"] += 1
        return found["seconds"]

    monkeypatch.setattr(Loops, "_seconds", seconds)
    return found


def trainer_of(data, density, step="auto", config=LONG):
    model = networks.build("lenet", (28, 28, 1), 10, seed=0)
    random = np.random.default_rng(0)
    set_masks(
        model, {k: (random.random(m.shape) < density) * 1 for k, m in get_masks(model).items()}
    )
    return Trainer(model, data, config, "off", step=step)


def chosen(trainer):
    trainer.restart()
    return trainer.step, trainer.timed


@pytest.mark.parametrize("step", ["dense", "sparse"])
def test_a_step_that_is_asked_for_is_taken_without_a_timing(digits, timing, step):
    assert chosen(trainer_of(digits, 0.5, step)) == (step, False)
    assert timing["asked"] == 0


def test_auto_takes_the_faster_one(digits, timing):
    trainer = trainer_of(digits, 0.5)
    assert chosen(trainer) == ("sparse", True)
    timing["seconds"] = (1.0, 2.0)
    assert chosen(trainer_of(digits, 0.5)) == ("dense", True)


def test_auto_times_nothing_where_the_answer_is_known(digits, timing):
    assert chosen(trainer_of(digits, 0.9)) == ("dense", False)
    assert chosen(trainer_of(digits, 0.5, config=SHORT)) == ("dense", False)
    trainer = trainer_of(digits, 0.5)
    assert timing["asked"] == 0
    chosen(trainer)
    # Sparser levels are faster still.
    set_masks(
        trainer.model, {k: m * 0 + (m.shape[1] == 10) for k, m in get_masks(trainer.model).items()}
    )
    assert chosen(trainer) == ("sparse", True)
    assert timing["asked"] == 1


def test_a_real_timing_leaves_no_trace(digits):
    trainer = trainer_of(digits, 0.02)
    before = get_weights(trainer.model)
    trainer.restart()
    for path, value in get_weights(trainer.model).items():
        np.testing.assert_array_equal(value, before[path])
    step, state = trainer.step, trainer.state()
    other = trainer_of(digits, 0.02, step)
    other.restart()
    for name, value in other.state().items():
        np.testing.assert_array_equal(value, state[name], err_msg=name)


def test_a_level_that_is_begun_goes_on_with_its_step_whatever_a_new_timing_says(
    digits, timing, tmp_path
):
    class Interrupted(Exception):
        pass

    class Stop:
        def __getattr__(self, name):
            return lambda *args: None

        def evaluated(self, stage, evaluation):
            if stage.level == 1:
                raise Interrupted

    config = LONG.replace(levels=1, prune_rate_fc=0.9, eval_interval=500)
    with pytest.raises(Interrupted):
        find_tickets(config, digits, tmp_path, jit="off", step="auto", listeners=[Stop()])
    timing["seconds"] = (1.0, 2.0)
    run_dir = find_tickets(config, digits, tmp_path, jit="off", step="auto")
    assert [run_dir.summary(Stage(level))["step"] for level in (0, 1)] == ["dense", "sparse"]


KILLED = """
import os, signal, sys
from lth_tf import datasets
from lth_tf.tickets.find import find_tickets
from tests.training.test_choice import SHORT

class Kill:
    def __getattr__(self, name):
        return lambda *args: None

    def evaluated(self, stage, evaluation):
        if str(stage) == "level_01/reinit_0" and evaluation.iteration == 40:
            os.kill(os.getpid(), signal.SIGKILL)

data = datasets.load("digits", image_shape=(28, 28, 1), seed=0)
find_tickets(SHORT, data, sys.argv[1], step="sparse", checkpoint_seconds=0, listeners=[Kill()])
"""


def test_killed_in_a_control_the_sparse_step_goes_on_to_the_same_bits(digits, tmp_path):
    child = subprocess.run(
        [sys.executable, "-c", KILLED, str(tmp_path / "killed")],
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        capture_output=True,
    )
    assert child.returncode == -signal.SIGKILL, child.stderr.decode()
    state = RunDir(tmp_path / "killed").progress(Stage(1, "reinit_0"))
    assert state["evaluation/iteration"].tolist() == [0, 20, 40]
    # What the state says, not what is asked for, is gone on with.
    find_tickets(SHORT.replace(levels=1), digits, tmp_path / "killed", step="dense")
    killed = find_tickets(SHORT, digits, tmp_path / "killed", step="sparse")
    whole = find_tickets(SHORT, digits, tmp_path / "whole", step="sparse")
    assert {whole.summary(stage)["step"] for stage in whole.finished()} == {"sparse"}
    assert_same_results(killed, whole)
