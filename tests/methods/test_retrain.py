"""Tickets of a run, trained again under another config, and drawn beside it."""

import shutil

import numpy as np
import pytest

from experiments import retrain
from experiments.report import report
from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.methods.retrain import Retrain
from lth_tf.runs import rewinding
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from tests.conftest import TINY
from tests.methods import small
from tests.small_runs import Starts, run


@pytest.fixture(scope="module")
def parent(tmp_path_factory):
    """Two levels, rewound to iteration 4. Not to be written to."""
    config = small.config_of("imp", levels=2, rewind_iteration=4)
    path = tmp_path_factory.mktemp("runs") / "small" / "default" / "seed_0"
    return run(path, config, small.data(), jit="off")


def again(parent, path, *, levels=(2,), values="", **changes):
    method = Retrain(ticket=str(parent.path), level=levels, values=values)
    config = parent.config().replace(network=small.dense, method=method)
    return run(path, config.replace(**changes), small.data(), jit="off")


def test_the_same_config_gives_the_same_bits(parent, tmp_path):
    run_dir = again(parent, tmp_path / "again", levels=(1, 2))
    for level in (0, 1, 2):
        for kind in ("mask", "trained", "history"):
            ours, theirs = (getattr(r, kind)(Stage(level)) for r in (run_dir, parent))
            for name, value in theirs.items():
                np.testing.assert_array_equal(ours[name], value)


def test_another_config_trains_the_same_ticket(parent, tmp_path, monkeypatch):
    starts = Starts(monkeypatch).models
    run_dir = again(parent, tmp_path / "again", optimizer="sgd", seed=3, reinits=1)
    masks, start = starts["level_01"]
    for path, mask in parent.mask(Stage(2)).items():
        np.testing.assert_array_equal(masks[path], mask)
        np.testing.assert_array_equal(start[path], parent.ticket(2)[path])
    assert run_dir.history(Stage(1))["iteration"].tolist() == [4, 6, 8, 10, 12]
    assert (run_dir.trained(Stage(1))["fc1/bias"] != parent.trained(Stage(2))["fc1/bias"]).any()
    assert run_dir.finished() == [Stage(n, c) for n in (0, 1) for c in ("", "reinit_0")]


def test_masks_of_one_run_with_the_values_of_another(parent, tmp_path, monkeypatch):
    config = small.config_of("imp", levels=0, seed=1)
    other = run(tmp_path / "other", config, small.data(), jit="off")
    starts = Starts(monkeypatch).models
    swapped = again(parent, tmp_path / "swapped", values=str(other.path))
    masks, start = starts["level_01"]
    mask = parent.mask(Stage(2))["fc1/kernel"]
    np.testing.assert_array_equal(masks["fc1/kernel"], mask)
    np.testing.assert_array_equal(start["fc1/kernel"], other.origin()["fc1/kernel"] * mask)
    # That run rewinds to initialization.
    assert swapped.history(Stage(1))["iteration"][0] == 0


def test_a_network_of_other_shapes_is_refused(parent, tmp_path):
    method = Retrain(ticket=str(parent.path), level=(1,))
    config = TINY.replace(method=method, network=small.convolutions)
    with pytest.raises(UsageError, match="a network of the shapes that .* was trained with"):
        run(tmp_path / "run", config, small.data(), jit="off")


def test_iteration_that_was_found_is_that_of_the_run(tmp_path):
    run_dir = RunDir(tmp_path / "seed_0")
    with run_dir.writing(small.config_of("imp", rewind="auto"), {}):
        assert rewinding.iteration_of(run_dir) == 0
        rewinding.record(run_dir, 7, {"0": 0.5, "7": 0.01})
    assert rewinding.iteration_of(run_dir) == 7


def test_program_beside_the_run(finished_run, tmp_path, program_here):
    parent = tmp_path / "lenet" / "default" / "seed_0"
    shutil.copytree(finished_run.path, parent)
    flags = ["--ticket=lenet/default/seed_0", "--level=2", "--optimizer=sgd", "--jit=off"]
    done = program_here("experiments.retrain", *flags, "--iterations=20")
    assert done.code == 0 and "Figures, beside the first training" in done.out
    (made,) = [RunDir(p.parent) for p in tmp_path.rglob("retrain*/*/config.json")]
    name = "retrain_2_of_default_0,iterations=20,optimizer=sgd"
    assert made.path.parent.name == name
    assert made.config().method.level == (2,)
    assert made.summary(Stage(1))["remaining"] == finished_run.summary(Stage(2))["remaining"]
    recorded = made.provenance()["retrained"]["ticket"]
    assert recorded["path"] == str(parent) and recorded["config"]["levels"] == 2
    files = report([str(parent), str(made.path)])
    assert any(file.name == "tickets.png" for file in files)


@pytest.mark.parametrize(
    "flags, message",
    [
        ([], "Expected a run whose tickets are trained. Received: ticket=''"),
        (["--ticket=nowhere"], "Expected a run directory. Received: nowhere"),
    ],
)
def test_mistake_is_one_line(flags, message, program_here):
    done = program_here("experiments.retrain", *flags)
    assert done.code == 2 and message in done.err


def test_default_config_is_that_of_the_run(parent):
    config = retrain.experiment(str(parent.path)).defaults
    assert isinstance(config, ExperimentConfig)
    assert (config.iterations, config.learning_rate, config.method.level) == (12, 0.01, (1,))
