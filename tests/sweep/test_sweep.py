"""`lth sweep` on Ray: the bits of a run on one machine, whatever happens to the machines."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest
from ray.cluster_utils import Cluster

from experiments.sweep import __main__, cluster, runs
from lth_tf.cli import program
from lth_tf.config import RunOptions
from lth_tf.errors import UsageError
from lth_tf.runs.run_dir import RunDir
from tests.conftest import ROOT, not_ignoring
from tests.small_runs import assert_same_results

# What is imported in the driver: TensorFlow is for those who train.
PROGRAM = """
import runpy, sys
try:
    runpy.run_module("experiments.sweep", run_name="__main__", alter_sys=True)
except SystemExit as end:
    if "tensorflow" in sys.modules:
        sys.exit("TensorFlow was imported")
    sys.exit(end.code)
"""


def start(folder, *flags):
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, "--dataset=digits", "--step=dense", *flags],
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=not_ignoring,
    )


def plainly(folder, *flags):
    """Runs the network's own program, on one core as each training of a sweep."""
    folder.mkdir()
    subprocess.run(
        [sys.executable, "-m", "experiments.lenet", "--dataset=digits", "--step=dense", *flags],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        preexec_fn=lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}),
        stdout=subprocess.DEVNULL,
        check=True,
    )
    return run_dirs(folder)


def run_dirs(folder):
    return sorted(map(RunDir, folder.glob("runs/lenet/*/seed_*")), key=lambda run: run.path)


def test_two_at_a_time_give_the_bits_of_one_after_the_other(tmp_path):
    short = ["--iterations=60", "--eval_interval=20", "--levels=1", "--reinits=1"]
    with start(tmp_path, *short, "--jobs=2") as child:
        out, err = child.communicate(timeout=600)
    assert (child.returncode, err) == (0, "")
    (swept,) = run_dirs(tmp_path)
    (plain,) = plainly(tmp_path / "plain", *short)
    assert_same_results(plain, swept)
    assert swept.provenance()["threads"] == 1
    assert not (swept.path / "progress").exists()
    rows = [line.split() for line in out.splitlines()]
    found = sorted(row[1] for row in rows if row[:1] == ["seed_0"])
    assert found == ["0", "0", "1", "1"]
    assert "Figures:" in out


def wait_for(condition, child):
    until = time.monotonic() + 400
    while not condition():
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < until
        time.sleep(0.1)


def is_inside(run_dir):
    """Whether level 0 has a checkpoint later than its start."""
    lines = run_dir.metrics() if (run_dir.path / "progress" / "level_00.npz").exists() else []
    return bool(lines) and lines[-1]["iteration"] > 0


LONG = ["--iterations=6000", "--levels=0", "--trials=2", "--checkpoint_seconds=0.5"]


@pytest.mark.slow
def test_of_two_machines_one_is_removed(tmp_path, monkeypatch):
    # What is installed on each machine.
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
    lost = machines.add_node(num_cpus=1)
    try:
        with start(tmp_path, *LONG, f"--address={machines.address}") as child:
            wait_for(lambda: len(list(filter(is_inside, run_dirs(tmp_path)))) == 2, child)
            machines.remove_node(lost, allow_graceful=False)
            out, err = child.communicate(timeout=900)
    finally:
        machines.shutdown()
    assert child.returncode == 0, (out, err)
    again = [line for line in err.splitlines() if "tried again from iteration" in line]
    assert len(again) == 1 and not again[0].endswith("iteration 0.")
    found = run_dirs(tmp_path)
    assert [swept.config().seed for swept in found] == [0, 1]
    for plain, swept in zip(plainly(tmp_path / "plain", *LONG), found, strict=True):
        assert_same_results(plain, swept)


@pytest.mark.slow
def test_ctrl_c_keeps_what_is_trained(tmp_path):
    flags = ["--iterations=1000000", "--levels=0", "--jobs=1", "--checkpoint_seconds=10000"]
    with start(tmp_path, *flags) as child:
        wait_for(lambda: list(tmp_path.glob("runs/lenet/*/seed_0/config.json")), child)
        time.sleep(25)
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=120)
    assert child.returncode == 130, (out, err)
    assert "Kept: all that was trained. The same command goes on from there." in err
    assert "Interrupted by SIGINT." in err
    (swept,) = run_dirs(tmp_path)
    assert (swept.path / "progress" / "level_00.npz").exists()
    assert swept.metrics()[-1]["iteration"] > 0


def test_where_no_machine_answers_is_no_cluster():
    with socket.socket() as taken:  # and nobody listens there
        taken.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        with pytest.raises(UsageError, match=rf"at {address}\. Received: .*refused\.$") as error:
            with cluster.connected(address, cores=1, gpus=0, jobs=0):
                pass
    assert error.value.arguments == ("address",)


@pytest.mark.slow
def test_more_gpus_than_this_machine_has():
    with pytest.raises(UsageError, match=r"Received: gpus=1000\.$"):
        with cluster.connected("", cores=1, gpus=1000, jobs=0):
            pass


@pytest.mark.parametrize(
    "flags", [["--recipe=paper", "--only=4c"], ["--recipe", "paper", "--only", "4c"]]
)
def test_the_plan_of_a_recipe(flags, monkeypatch, capsys, tmp_path):
    monkeypatch.setattr(sys, "argv", ["sweep", *flags, "--dry_run", f"--runs_dir={tmp_path}"])
    assert program.run_main(__main__._run) == 0
    out = capsys.readouterr().out
    assert "\n5 runs, 420 trainings, 21,000,000 iterations. Nothing was trained.\n" in out


def test_the_recipe_is_runs_of_its_programs(tmp_path):
    options = RunOptions(runs_dir=str(tmp_path))
    found = runs.of_recipe(["4c"], options)
    assert [(each.label, each.config.levels) for each in found] == [
        (f"lenet/strategy=oneshot/seed_{seed}", 20) for seed in range(5)
    ]
    assert {each.config.iterations for each in found} == {50_000}
    assert len(runs.of_recipe([], options)) > 100
    with pytest.raises(UsageError, match="Received: only=99"):
        runs.of_recipe(["99"], options)


def test_tickets_of_others_wait_for_these(tmp_path):
    options = RunOptions(runs_dir=str(tmp_path))
    with pytest.raises(UsageError, match="seed_0"):
        list(runs.of_recipes_tickets(["9"], options))
