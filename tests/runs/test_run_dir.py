import dataclasses
import json
import os
import subprocess
import sys
import time

import numpy as np
import pytest

from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.files import read_arrays, write_arrays
from lth_tf.runs.history import Evaluation, History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

CONFIG = ExperimentConfig(dataset="digits")
MASKS = {"fc1/kernel": np.array([[1, 0], [0, 1]], np.uint8)}
WEIGHTS = {"fc1/kernel": np.array([[2.0, 0.0], [0.0, 3.0]]), "fc1/bias": np.array([1.0, 1.0])}
HISTORY = History(
    evaluations=[Evaluation(iteration, 0.5, 0.4, 0.9, None) for iteration in range(3)],
    early_stop_iteration=0,
    early_stop_test_accuracy=0.9,
    final_test_accuracy=0.9,
    final_train_accuracy=1.0,
    seconds=1.0,
)


@pytest.fixture
def run_dir(tmp_path):
    run_dir = RunDir(tmp_path / "seed_0")
    with run_dir.writing(CONFIG, {}):
        run_dir.save_origin({k: v + 1 for k, v in WEIGHTS.items()})
        run_dir.save_stage(Stage(0), MASKS, WEIGHTS, HISTORY)
        run_dir.save_stage(Stage(0, "reinit_0"), MASKS, WEIGHTS, HISTORY)
    return run_dir


def test_layout(run_dir):
    files = {str(p.relative_to(run_dir.path)) for p in run_dir.path.rglob("*") if p.is_file()}
    level = {"mask.npz", "weights.npz", "history.npz", "summary.json"}
    assert files == {
        "config.json",
        "lock",
        "origin.npz",
        *(f"level_00/{name}" for name in level),
        *(f"level_00/reinit_0/{name}" for name in level),
    }
    assert json.loads((run_dir.path / "config.json").read_text())["format"] == 2


def test_what_is_written_is_read(run_dir):
    assert run_dir.finished() == [Stage(0), Stage(0, "reinit_0")]
    assert run_dir.config() == CONFIG
    np.testing.assert_array_equal(run_dir.mask(Stage(0))["fc1/kernel"], MASKS["fc1/kernel"])
    np.testing.assert_array_equal(run_dir.history(Stage(0))["iteration"], [0, 1, 2])
    assert run_dir.summary(Stage(0))["density"] == 0.5


def test_ticket_and_trained_weights_are_told_apart(run_dir):
    ticket, trained = run_dir.ticket(0), run_dir.trained(Stage(0))
    np.testing.assert_array_equal(ticket["fc1/kernel"], [[3, 0], [0, 4]])
    np.testing.assert_array_equal(ticket["fc1/bias"], [2, 2])
    np.testing.assert_array_equal(trained["fc1/kernel"], [[2, 0], [0, 3]])


def test_level_that_is_not_there_lists_those_that_are(run_dir):
    with pytest.raises(UsageError, match="Expected a finished level of .*: 0. Received: level_07"):
        run_dir.mask(Stage(7))


def test_folder_without_config_is_no_run_directory(tmp_path):
    with pytest.raises(UsageError, match="Expected a run directory. Received: .*without config"):
        RunDir(tmp_path).provenance()


@pytest.mark.parametrize("name", ["mask.npz", "weights.npz", "history.npz"])
def test_truncated_file_of_a_finished_level_is_named(run_dir, name):
    file = run_dir.path / "level_00" / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(UsageError) as error:
        run_dir.has(Stage(0))
    assert str(file) in str(error.value)
    assert f"Delete {file.parent} to make it again." in str(error.value)


def test_flipped_bytes_are_found_when_read(run_dir):
    file = run_dir.path / "level_00" / "weights.npz"
    content = bytearray(file.read_bytes())
    content[content.index(np.float64(3.0).tobytes())] ^= 0x01
    file.write_bytes(content)
    with pytest.raises(UsageError, match="is missing or damaged"):
        run_dir.trained(Stage(0))


def test_another_config_is_refused_and_named(run_dir):
    other = dataclasses.replace(CONFIG, iterations=500, prune_rate_fc=0.3)
    with pytest.raises(UsageError) as error, run_dir.writing(other, {}):
        pass
    assert "iterations=50000, not 500; prune_rate_fc=0.2, not 0.3" in str(error.value)
    assert error.value.arguments == ("runs_dir", "overwrite")
    assert "--" not in str(error.value)
    assert run_dir.config() == CONFIG


def test_more_levels_are_no_other_config(run_dir):
    with run_dir.writing(CONFIG.replace(levels=30, reinits=2), {}):
        assert run_dir.has(Stage(0))
    assert run_dir.config().levels == 30


def test_foreign_folder_is_left_alone(tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    run_dir = RunDir(tmp_path)
    with pytest.raises(UsageError, match="holds 'thesis.tex' and no config.json"):
        with run_dir.writing(CONFIG, {}):
            pass
    with pytest.raises(UsageError, match="holds 'thesis.tex'"):
        run_dir.delete()
    assert (tmp_path / "thesis.tex").read_text() == "years of work"


def test_damaged_config_is_named(run_dir):
    (run_dir.path / "config.json").write_text('{"format": 1, "con')
    with pytest.raises(UsageError, match="Could not read .*config.json"):
        with run_dir.writing(CONFIG, {}):
            pass


def test_config_of_another_format_is_refused(run_dir):
    (run_dir.path / "config.json").write_text('{"format": 99, "config": {}}')
    with pytest.raises(UsageError, match="in format 1 to 2. Received: format=99"):
        run_dir.config()


HOLD = """
import sys, time
from lth_tf.config import ExperimentConfig
from lth_tf.runs.run_dir import RunDir
with RunDir(sys.argv[1]).writing(ExperimentConfig(dataset="digits"), {}):
    print("held", flush=True)
    time.sleep(60)
"""


def test_two_writers_are_refused_and_a_killed_one_is_no_writer(run_dir):
    child = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(run_dir.path)], stdout=subprocess.PIPE, text=True
    )
    try:
        assert child.stdout.readline() == "held\n"
        with pytest.raises(UsageError, match=f"which process {child.pid} is using"):
            with run_dir.writing(CONFIG, {}):
                pass
        with pytest.raises(UsageError, match=f"which process {child.pid} is using"):
            run_dir.delete()
    finally:
        child.kill()
        child.communicate()
    with run_dir.writing(CONFIG, {}):
        assert run_dir.has(Stage(0))


WRITE = """
import sys, pathlib
import numpy as np
from lth_tf.files import write_arrays
path = pathlib.Path(sys.argv[1])
for value in range(10**6):
    write_arrays(path, {"a": np.full(200_000, value), "b": np.full(200_000, value)})
    print(value, flush=True)
"""


def test_file_is_whole_whenever_its_writer_is_killed(tmp_path):
    file = tmp_path / "a.npz"
    for delay in (0.0, 0.01, 0.02, 0.05):
        child = subprocess.Popen(
            [sys.executable, "-c", WRITE, str(file)], stdout=subprocess.PIPE, text=True
        )
        child.stdout.readline()
        time.sleep(delay)
        child.kill()
        child.communicate()
        arrays = read_arrays(file)
        assert len(set(arrays["a"]) | set(arrays["b"])) == 1


FULL = """
import resource, sys
import numpy as np
from lth_tf.config import ExperimentConfig
from lth_tf.cli.program import run_main
from lth_tf.runs.history import Evaluation, History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
def work():
    run_dir = RunDir(sys.argv[1])
    with run_dir.writing(ExperimentConfig(dataset="digits"), {}):
        resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
        big = {"w": np.ones(8), "b": np.zeros(100_000)}
        history = History([Evaluation(1, 0.5, 0.4, 0.9, None)], 1, 0.9, 0.9, 1.0, 1.0)
        run_dir.save_stage(Stage(1), {"w": np.ones(8, np.uint8)}, big, history)
sys.exit(run_main(work))
"""


def test_a_file_that_does_not_fit_is_one_line_and_nothing_is_lost(run_dir):
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(run_dir.path)], capture_output=True, text=True
    )
    assert done.returncode == 1
    assert done.stderr.startswith("error: Could not write ")
    assert done.stderr.count("\n") == 1
    assert "level_01/weights.npz" in done.stderr
    assert run_dir.finished() == [Stage(0), Stage(0, "reinit_0")]
    assert not list(run_dir.path.rglob("*.partial"))
    assert run_dir.has(Stage(0))


def test_folder_that_cannot_be_written_to(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match="Expected a folder that can be written to"):
        with RunDir(tmp_path / "file" / "runs").writing(CONFIG, {}):
            pass


def test_progress_belongs_to_its_stage(run_dir):
    with run_dir.writing(CONFIG, {}):
        run_dir.save_progress(Stage(1), {"weight": np.arange(3)})
        np.testing.assert_array_equal(run_dir.progress(Stage(1))["weight"], [0, 1, 2])
        assert run_dir.progress(Stage(1, "reinit_0")) is None
        run_dir.save_stage(Stage(1), MASKS, WEIGHTS, HISTORY)
        assert run_dir.progress(Stage(1)) is None


def test_the_checkpoint_of_an_earlier_version_is_there_until_its_own_stage_is_done(run_dir):
    """It had one file for whatever stage was running."""
    former = run_dir.path / "progress" / "checkpoint.npz"
    former.parent.mkdir()
    write_arrays(former, {"weight": np.arange(3), "stage": np.array("level_02")})
    with run_dir.writing(CONFIG, {}):
        for stage in (Stage(1), Stage(1, "reinit_0")):
            run_dir.save_stage(stage, MASKS, WEIGHTS, HISTORY)
        np.testing.assert_array_equal(run_dir.progress(Stage(2))["weight"], [0, 1, 2])
        run_dir.save_progress(Stage(2), {"weight": np.arange(4)})
        np.testing.assert_array_equal(run_dir.progress(Stage(2))["weight"], [0, 1, 2, 3])
        run_dir.save_stage(Stage(2), MASKS, WEIGHTS, HISTORY)
    assert not former.parent.exists()


def test_metrics_survive_a_torn_last_line(run_dir):
    for iteration in (0, 20, 40):
        run_dir.append_metrics(Stage(1), {"iteration": iteration})
    run_dir.append_metrics(Stage(0), {"iteration": 60})
    with open(run_dir.path / "metrics.jsonl", "a") as file:
        file.write('{"level": 1, "itera')
    run_dir.forget_metrics(Stage(1), after=20)
    assert [(r["level"], r["iteration"]) for r in run_dir.metrics()] == [(1, 0), (1, 20), (0, 60)]


def test_leftovers_of_a_killed_writer_are_removed(run_dir):
    (run_dir.path / "level_00" / "mask.npz.123.partial").write_bytes(b"half")
    with run_dir.writing(CONFIG, {}):
        assert not list(run_dir.path.rglob("*.partial"))


def test_lock_names_its_process(run_dir):
    with run_dir.writing(CONFIG, {}):
        assert (run_dir.path / "lock").read_text() == f"{os.getpid()}\n"
