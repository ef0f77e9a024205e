"""Runs exported files in stock runtimes. A program of its own.

    runtimes run REQUEST.json
    runtimes time REQUEST.json
    runtimes load REQUEST.json
    runtimes serve run

`run` prints the name of each runtime, a JSON string a line, before it starts, and
writes the outputs to FOLDER/NAME.npz. `time` prints a JSON list with the
milliseconds that one batch takes in each of two files. `load` prints one with the seconds
that loading a file takes and the megabytes that the process grows by at most. `serve` answers
requests from stdin (see `lth_tf.cli.kept`).

Nothing of lth_tf that Keras could know is imported, so a file that runs here runs wherever
its runtime is installed.
"""

import importlib
import json
import os
import pathlib
import statistics
import sys
import time
from collections.abc import Callable

import numpy as np

from lth_tf import files
from lth_tf.cli.kept import serve
from lth_tf.lazy import lazy_imports

from .arrays import count, in_batches
from .formats import FORMATS

with lazy_imports():
    import tensorflow as tf

_FIRST = (1, 7)  # batch sizes before the others
_BATCH = 64
_ROUNDS = 30


def run(format: str, path: str, examples: str, folder: str, runtimes: list[str]) -> None:
    """Writes the outputs of a file in each of the named runtimes."""
    arrays = _arrays(examples)
    form = FORMATS.get(format)
    for runtime in (*form.runtimes, *form.optional_runtimes):
        if runtime.name not in runtimes:
            continue
        print(json.dumps(runtime.name), flush=True)
        runner = runtime.open(path)
        if runner is None:
            continue
        fixed = runner.batch_size
        outputs = in_batches(runner, arrays, fixed or _BATCH, fixed=bool(fixed), first=_FIRST)
        files.save_arrays(pathlib.Path(folder, f"{runtime.name}.npz"), outputs)


def time_both(format: str, paths: list[str], examples: str, seconds: float) -> None:
    """Prints the milliseconds of one batch in two files, measured in turn.

    One thread. In every round each file runs for the same time; the result is the
    median over the rounds.
    """
    runtime = FORMATS.get(format).runtimes[0]
    if not runtime.name.startswith("ai_edge"):
        tf.config.threading.set_intra_op_parallelism_threads(1)
        tf.config.threading.set_inter_op_parallelism_threads(1)
    batch = _arrays(examples)
    runners = [runtime.open(path) for path in paths]
    for runner in runners:
        if runner.batch_size not in (None, count(batch)):
            raise ValueError(f"it takes batches of {runner.batch_size} only")
    calls = [runner.prepare(batch) for runner in runners]
    slice_seconds = seconds / (2 * _ROUNDS + 2)
    for call in calls:
        _milliseconds(call, slice_seconds)
    rounds = [[_milliseconds(call, slice_seconds) for call in calls] for _ in range(_ROUNDS)]
    print(json.dumps([statistics.median(column) for column in zip(*rounds, strict=True)]))


def load(format: str, path: str) -> None:
    """Prints what loading a file takes, in time and memory, its runtime being imported."""
    runtime = FORMATS.get(format).runtimes[0]
    if runtime.name.startswith("ai_edge"):
        importlib.import_module("ai_edge_litert.interpreter")
    else:
        tf.constant(0)  # makes the devices
    before, start = _megabytes("VmRSS"), time.perf_counter()
    runner = runtime.open(path)
    seconds = time.perf_counter() - start
    print(json.dumps([seconds, _megabytes("VmHWM") - before]))
    del runner


def _megabytes(what: str) -> float:
    """Returns what the process takes now (VmRSS) or took at most (VmHWM)."""
    status = pathlib.Path("/proc/self/status").read_text()
    return int(status.split(f"{what}:")[1].split()[0]) / 1000


def _arrays(path: str) -> dict[str, np.ndarray]:
    with np.load(path, allow_pickle=False) as loaded:
        return dict(loaded)


def _milliseconds(call: Callable[[], object], seconds: float) -> float:
    calls, start = 0, time.perf_counter()
    while True:
        call()
        calls += 1
        elapsed = time.perf_counter() - start
        if elapsed >= seconds:
            return 1000 * elapsed / calls


def _do(action: str, request: str) -> None:
    arguments = json.loads(pathlib.Path(request).read_text())
    actions: dict[str, Callable[..., None]] = {"run": run, "time": time_both, "load": load}
    actions[action](**arguments)


if __name__ == "__main__":
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    action, argument = sys.argv[1:]
    if action == "serve":
        serve(lambda request: _do(argument, request))
    else:
        _do(action, argument)
