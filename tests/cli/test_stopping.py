"""Programs that are told to stop keep what they have trained."""

import os
import re
import signal
import subprocess
import sys

import pytest

from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from tests.conftest import ROOT, not_ignoring

LONG = ["--dataset=digits", "--iterations=1000000", "--checkpoint_seconds=10000"]
FOLDER = "runs/lenet/dataset=digits,iterations=1000000"


@pytest.fixture
def start(tmp_path):
    started = []

    def start(*flags):
        child = subprocess.Popen(
            [sys.executable, "-m", "experiments.lenet", *LONG, *flags],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            preexec_fn=not_ignoring,
        )
        started.append(child)
        return child

    yield start
    for child in started:
        with child:  # closes its pipes
            child.kill()


def read_until(stream, text):
    for line in stream:
        if text in line:
            return
    raise AssertionError(f"ended without {text!r}")


@pytest.mark.parametrize(
    "number", [signal.SIGINT, signal.SIGTERM, pytest.param(signal.SIGHUP, marks=pytest.mark.slow)]
)
def test_a_run_is_kept_to_its_last_evaluation(start, tmp_path, number):
    child = start()
    read_until(child.stderr, "About ")
    child.send_signal(number)
    _, err = child.communicate(timeout=60)
    assert child.returncode == 128 + number
    kept = re.search(r"^Kept: level_00 to iteration ([\d,]+), and", err, re.MULTILINE)
    assert err.endswith(f"\nInterrupted by {number.name}.\n")
    run = RunDir(tmp_path / FOLDER / "seed_0")
    recorded = [m["iteration"] for m in run.metrics() if m["level"] == 0]
    assert int(kept[1].replace(",", "")) == recorded[-1] > 0
    state = run.progress(Stage(0))
    assert state["evaluation/iteration"][-1] == recorded[-1]


def test_children_stop_with_their_parent(start, tmp_path):
    child = start("--replicates=3", "--jobs=2")
    read_until(child.stdout, "About ")
    pids = re.findall(r"\d+", subprocess.getoutput(f"pgrep -P {child.pid}"))
    assert len(pids) == 2
    child.send_signal(signal.SIGTERM)  # to the parent alone
    out, err = child.communicate(timeout=90)
    assert child.returncode == 128 + signal.SIGTERM
    assert out.count("Kept: level_00 to iteration") >= 1
    assert out.count("Interrupted by SIGTERM.") == 2 and "seed 2 |" not in out
    assert err == "\nInterrupted by SIGTERM.\n"
    for pid in pids:
        with pytest.raises(ProcessLookupError):
            os.kill(int(pid), 0)
