"""What holds of every method, on a small network; and each is killed where it has a state."""

import dataclasses
import os
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from lth_tf.config import CONTROLS, METHODS
from lth_tf.methods.base import Method
from lth_tf.runs import parcel
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import SEARCH, Stage
from lth_tf.tickets import find
from lth_tf.tickets.listener import RunListener
from tests.conftest import ROOT
from tests.methods import small
from tests.small_runs import assert_same_results, run


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """Returns method -> its run. Not to be written to."""
    made = {}

    def run_of(method):
        if method not in made:
            path = tmp_path_factory.mktemp(method) / "seed_0"
            made[method] = run(path, small.config_of(method), small.data(), jit="off")
        return made[method]

    return run_of


@pytest.mark.parametrize("method", small.METHOD_NAMES)
def test_levels_have_the_planned_sizes_and_pruned_weights_are_0(finished, method):
    run_dir, config = finished(method), small.config_of(method)
    shapes = {path: mask.shape for path, mask in run_dir.mask(Stage(0)).items()}
    rates = {"fc1/kernel": 0.2, "output/kernel": 0.1}
    plan = config.method.plan(shapes, rates, config)
    found = [run_dir.summary(Stage(level))["remaining"] for level in (0, 1)]
    if method == "supermask":
        assert found[0] == plan[0] and 0 < found[1] < plan[1]
    else:
        assert found == plan
    for stage in run_dir.finished():
        trained = run_dir.trained(stage)
        for path, mask in run_dir.mask(stage).items():
            assert (trained[path][mask == 0] == 0).all()
    assert run_dir.config() == config
    assert run_dir.has(Stage(1, SEARCH)) == config.method.searches(1)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(
            name, marks=[] if name in ("rigl", "gradual", "supermask") else pytest.mark.slow
        )
        for name in small.METHOD_NAMES
    ],
)
def test_convolutions_normalization_and_unpruned_shortcuts(method, tmp_path):
    config = small.config_of(method, network=small.convolutions, weight_decay=1e-3)
    run_dir = run(tmp_path / "run", config.replace(reinits=1), small.data(), jit="off")
    mask = run_dir.mask(Stage(1))
    assert mask["shortcut/kernel"].all() and not mask["conv1/kernel"].all()
    control = run_dir.mask(Stage(1, "reinit_0"))
    for path in mask:
        np.testing.assert_array_equal(control[path], mask[path])


class Nested(RunListener):
    """In the middle of a training of level 1 starts the next run; the last one waits."""

    def __init__(self, folder, methods):
        self.folder, self.methods = folder, methods

    def evaluated(self, stage, evaluation):
        searching = small.config_of(self.methods[0]).method.searches(1)
        at = Stage(1, SEARCH if searching else "")
        if stage == at and evaluation.iteration == 4:
            start(self.folder, self.methods[1:])


def start(folder, methods):
    if not methods:
        (folder / "all_begun").touch()
        time.sleep(600)
    listener = Nested(folder, methods)
    run(
        folder / methods[0],
        small.config_of(methods[0]),
        small.data(),
        jit="off",
        checkpoint_seconds=0,
        listeners=[listener],
    )


STATEFUL = [n for n in small.METHOD_NAMES if METHODS.get(n).hooks is not Method.hooks]


@pytest.fixture(scope="module")
def killed(tmp_path_factory):
    """A folder of runs, each killed by SIGKILL in the middle of a training."""
    folder = tmp_path_factory.mktemp("killed")
    code = (
        "import pathlib, sys; from tests.methods.test_every_method import STATEFUL, start;"
        "start(pathlib.Path(sys.argv[1]), STATEFUL)"
    )
    child = subprocess.Popen(
        [sys.executable, "-c", code, str(folder)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stderr=subprocess.PIPE,
    )
    while not (folder / "all_begun").exists():
        assert child.poll() is None, child.stderr.read()
        time.sleep(0.05)
    child.send_signal(signal.SIGKILL)
    child.communicate()
    return folder


@pytest.mark.parametrize("method", STATEFUL)
def test_killed_in_the_middle_it_goes_on_to_the_same_bits(method, killed, finished):
    config = small.config_of(method)
    other = RunDir(killed / method)
    stage = Stage(1, SEARCH if config.method.searches(1) else "")
    assert int(other.progress(stage)["evaluation/iteration"][-1]) == 4
    run(other.path, config, small.data(), jit="off", checkpoint_seconds=0)
    assert_same_results(finished(method), other)


@pytest.mark.parametrize("method", small.METHOD_NAMES)
def test_what_a_stage_needs_is_all_that_it_is_made_from(method, finished, tmp_path):
    """Of a run nothing else is there, as on a machine that trains this stage alone."""
    whole, data = finished(method), small.data()
    counts = {dataclasses.fields(kind)[0].name: 1 for kind in CONTROLS.items().values()}
    config = small.config_of(method).replace(**counts)
    model = find.new_model(config, data, "init")
    stages = find.network_procedure(config, data, whole, model).stages()
    assert {stage.control for stage in stages} > {"", "reinit_0", "inverted_0"}
    for number, stage in enumerate(stages):
        there = RunDir(tmp_path / str(number))
        with there.writing(config, {}):
            procedure = find.network_procedure(config, data, there, model)
            needed = procedure.needs(stage)
            assert stages.index(stage) > max(map(stages.index, needed), default=-1)
            parcel.put(there, stage, parcel.of_needed(whole, needed, stage), stages)
            ticket = procedure.ticket(stage)
        if stage.control == "reinit_0":
            for path, mask in whole.mask(Stage(stage.level)).items():
                np.testing.assert_array_equal(ticket.masks[path], mask)
