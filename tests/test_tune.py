import contextlib
import csv
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

import pytest

from experiments import tune
from experiments.conv6 import CONFIG as CONV6
from experiments.default_config import default_config
from lth_tf.config import ExperimentConfig
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tuning.oracles import saved_trials
from lth_tf.tuning.project import Project

# KerasTuner 1.4.8 calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]

ROOT = pathlib.Path(__file__).parents[1]
QUICK = (
    "--network=lenet",
    "--dataset=digits",
    "--iterations=100",
    "--eval_interval=20",
    "--test_interval=0",
    "--levels=1",
    "--tolerance=2",
    "--algorithm=random",
    "--jit=off",
    "--max_trials=2",
)
PROJECT = (
    "runs/tune_lenet/dataset=digits,eval_interval=20,iterations=100,test_interval=0,"
    "algorithm=random,tolerance=2.0,levels=1"
)


def start(folder, *flags, **environment):
    return subprocess.Popen(
        [sys.executable, "-m", "experiments.tune", *QUICK, *flags],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
    )


def table(project):
    """Returns the rows of a search's CSV file without what depends on the clock and the folder."""
    rows = list(csv.DictReader((project / "trials.csv").read_text().splitlines()))
    return [{k: v for k, v in row.items() if k not in ("seconds", "run")} for row in rows]


@pytest.mark.parametrize(
    "flags, message",
    [
        (["--max_trails=3"], "Received: --max_trails. Did you mean --max_trials?"),
        (["--tolerance=-1"], "tolerance to be a number in [0.0, 100.0)"),
        (["--algorithm=hyperband"], "one of bayesian, random. Received: algorithm='hyperband'"),
        (["--network=alexnet"], "Expected a network out of conv2,"),
        (["--network=../lenet"], "Received: network='../lenet'"),
        (["--network=report"], "Received: network='report'"),
        (["--dataset=digits", "--search=momentum"], "prune_rate_fc, prune_rate_output, learning"),
        (["--dataset=digits", "--trials=2"], "Received: replicates=2."),
    ],
)
def test_mistake_is_one_line_on_stderr(flags, message, program_here, tmp_path):
    done = program_here("experiments.tune", *flags)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("error: ") and done.err.count("\n") == 1
    assert message in done.err
    assert not list(tmp_path.rglob("tune.json"))


def test_help_needs_no_tensorflow_and_shows_the_networks_values():
    code = (
        "import runpy, sys\n"
        "sys.argv = ['tune', '--network=conv6', '--help']\n"
        "try:\n"
        "    runpy.run_module('experiments.tune', run_name='__main__')\n"
        "except SystemExit as end:\n"
        "    assert end.code == 0\n"
        "assert not {'tensorflow', 'keras', 'keras_tuner'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert "--prune_rate_conv (in [0.0, 1.0); default 0.15)" in done.stdout
    assert "--max_trials (at least 1; default 20)" in done.stdout


def test_values_of_a_network_are_those_of_its_experiment():
    assert default_config("conv6")[0] is CONV6
    assert default_config("one_of_my_own") == (ExperimentConfig(network="one_of_my_own"), {})


def test_folder_is_named_by_what_was_changed():
    options = tune.TuneOptions()
    assert tune.project_name(CONV6, CONV6, options) == "default"
    config = ExperimentConfig(levels=5, iterations=300, seed=2)
    options = tune.TuneOptions(max_trials=9, search=("learning_rate", "warmup_iterations"))
    assert (
        tune.project_name(config, ExperimentConfig(), options)
        == "iterations=300,search=learning_rate+warmup_iterations,levels=5,seed=2"
    )


def test_killed_search_goes_on_to_the_results_of_an_uninterrupted_one(tmp_path, program_here):
    whole = program_here("experiments.tune", *QUICK, "--runs_dir=whole")
    assert whole.code == 0, whole.err

    project = tmp_path / PROJECT
    killed = start(tmp_path, "--checkpoint_seconds=0")
    # Later than the training up to the iteration that is rewound to.
    wanted = [project / "trial_001" / name for name in ("origin.npz", "progress/level_00.npz")]
    while not all(file.exists() for file in wanted):
        assert killed.poll() is None, killed.stderr.read()
        time.sleep(0.005)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    inside = RunDir(project / "trial_001")
    assert len(inside.finished()) < 2
    started = inside.path / "origin.npz"
    made = started.stat().st_mtime_ns

    goes_on = program_here("experiments.tune", *QUICK)
    assert (goes_on.code, goes_on.err) == (0, "")
    assert started.stat().st_mtime_ns == made
    uninterrupted = tmp_path / "whole" / pathlib.Path(*pathlib.Path(PROJECT).parts[1:])
    assert table(project) == table(uninterrupted)
    for stage in RunDir(uninterrupted / "trial_001").finished():
        expected = RunDir(uninterrupted / "trial_001").trained(stage)
        for path, value in RunDir(project / "trial_001").trained(stage).items():
            assert (value == expected[path]).all()

    check_output(whole.out.splitlines(), uninterrupted)
    assert goes_on.out.splitlines()[0] == whole.out.splitlines()[0]
    # The finished trial is not run, nor told of, again before the table.
    before, _, after = goes_on.out.partition("By objective:")
    assert [line.split()[0] for line in before.splitlines()[-2:] if line] == ["1"]
    assert after.count("\n    ") == 2


def check_output(lines, project):
    assert lines[0] == "lenet on digits, 266,200 weights"
    assert lines[2].startswith("Looking for the smallest network at most 2 points of validation")
    assert "  learning_rate      0.00012 to 0.0036" in lines
    end = lines.index("By objective:")
    assert lines[end + 1].split()[:3] == ["trial", "fc", "rate"]
    rows = [line.split() for line in lines[end + 2 : end + 4]]
    recorded = table(project)
    assert [row[0] for row in rows] == [row["trial"] for row in recorded]
    objectives = [float(row["objective"]) for row in recorded]
    assert objectives == sorted(objectives)
    first = recorded[0]
    assert float(first["objective"]) == pytest.approx(float(first["remaining"]) / 100, abs=1e-4)
    best = f"trial_{int(first['trial']):03d}"
    summary = RunDir(project / best).summary(Stage(int(first["level"])))
    accuracy = 100 * summary["early_stop_validation_accuracy"]
    assert float(first["validation_accuracy"]) == pytest.approx(accuracy, abs=1e-3)
    assert accuracy >= float(first["dense_validation_accuracy"]) - 2
    (export,) = (line for line in lines if line.startswith("Export it: "))
    assert export.endswith(f"/{best} --level={first['level']}")


def test_chief_and_two_workers(tmp_path, program_here):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    flags = ["--iterations=60", "--max_trials=4"]
    project = Project(tmp_path / PROJECT.replace("iterations=100", "iterations=60"))
    held = contextlib.ExitStack()
    held.enter_context(project.lock("dense"))
    processes = {
        name: start(
            tmp_path,
            *flags,
            KERASTUNER_TUNER_ID=name,
            KERASTUNER_ORACLE_IP="127.0.0.1",
            KERASTUNER_ORACLE_PORT=str(port),
        )
        for name in ("chief", "worker0", "worker1")
    }
    try:
        for name in ("worker0", "worker1"):
            # Both are ready and wait for this process before either can train.
            while f"Waiting for process {os.getpid()}" not in processes[name].stdout.readline():
                assert processes[name].poll() is None, processes[name].stderr.read()
        held.close()
        ends = {name: child.communicate(timeout=240) for name, child in processes.items()}
    finally:
        held.close()
        for child in processes.values():
            child.kill()
    for name, (_, err) in ends.items():
        assert (processes[name].returncode, err) == (0, ""), name
    rows = {
        name: [line.split()[0] for line in out.splitlines() if line[:5].strip().isdigit()]
        for name, (out, _) in ends.items()
    }
    by_workers = rows["worker0"] + rows["worker1"]
    assert rows["worker0"] and rows["worker1"]
    assert sorted(by_workers) == ["0", "1", "2", "3"]
    # Each as it ended, and all of them in the table.
    assert sorted(rows["chief"]) == sorted(2 * by_workers)
    assert sorted(row["trial"] for row in table(project.path)) == ["0", "1", "2", "3"]
    assert {trial.status for trial in saved_trials(project.oracle_file)} == {"COMPLETED"}
    # One of them trained the dense network, the other waited for it.
    assert [metric["iteration"] for metric in project.dense.metrics()] == [0, 20, 40, 60]

    again = program_here("experiments.tune", *QUICK, *flags)
    assert (again.code, again.err) == (0, "")
    assert again.out.partition("By objective:")[2] == ends["chief"][0].partition("By objective:")[2]
