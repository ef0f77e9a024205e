"""Replicates in processes of their own, a share of the cores each."""

import os
import pathlib
import signal
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

from lth_tf import signals
from lth_tf.cli import process
from lth_tf.config import ExperimentConfig, RunOptions
from lth_tf.errors import RunError

_ONE_OF_SEVERAL = "LTH_TF_ONE_OF_SEVERAL"
_STOPPED = {128 + number for number in signals.STOPPING}  # exit codes


def run_side_by_side(
    replicates: list[ExperimentConfig], paths: list[pathlib.Path], options: RunOptions
) -> None:
    """Runs each replicate in a process of its own, `options.jobs` at a time.

    Raises:
        RunError: if one of them fails.
        KeyboardInterrupt: if this process or one of them is told to stop; all have stopped then.
    """
    cores = sorted(os.sched_getaffinity(0))
    jobs = min(options.jobs, len(replicates))
    shares = [set(cores[i::jobs] or cores) for i in range(jobs)]
    started = time.monotonic()
    print(f"{len(replicates)} replicates, {jobs} at a time, in {paths[0].parent}", flush=True)
    children = _Children()

    def work(job: int) -> list[int]:
        return [children.run(config, shares[job]) for config in replicates[job::jobs]]

    with ThreadPoolExecutor(jobs) as pool:
        try:
            codes = [code for codes in pool.map(work, range(jobs)) for code in codes]
        except BaseException:
            children.stop()
            raise
    if children.stopped:
        raise KeyboardInterrupt
    failed = sum(code != 0 for code in codes)
    print(f"{len(replicates) - failed} replicates done in {time.monotonic() - started:.0f} s")
    if failed:
        raise RunError(f"{failed} of {len(replicates)} replicates failed; their errors are above.")


def is_one_of_several() -> bool:
    """Returns whether this process runs a replicate for a process that tells of all of them."""
    return _ONE_OF_SEVERAL in os.environ


class _Children:
    """Processes of this program.

    Attributes:
        stopped: True once they were told to stop; none is started from then on.
    """

    def __init__(self) -> None:
        self.stopped = False
        self._running: list[subprocess.Popen] = []
        self._lock = threading.Lock()

    def run(self, config: ExperimentConfig, cores: set[int]) -> int:
        """Runs this program for one seed, its lines marked with the seed; returns its exit code."""
        with self._lock:
            if self.stopped:
                return 0
            child = subprocess.Popen(
                _command(config),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                env={**os.environ, _ONE_OF_SEVERAL: "1"},
                preexec_fn=lambda: os.sched_setaffinity(0, cores),
            )
            self._running.append(child)
        with child:
            for line in process.piped(child.stdout):
                print(f"seed {config.seed} | {line}", end="", flush=True)
        with self._lock:
            self._running.remove(child)
        if child.returncode in _STOPPED:
            self.stop()
        return child.returncode

    def stop(self) -> None:
        """Tells all of them to keep what they have trained and stop."""
        with self._lock:
            self.stopped = True
            for child in self._running:
                child.send_signal(signal.SIGTERM)


def _command(config: ExperimentConfig) -> list[str]:
    spec = sys.modules["__main__"].__spec__
    program = ["-m", spec.name] if spec else [sys.argv[0]]
    own = [f"--seed={config.seed}", "--replicates=1", "--jobs=1"]
    return [sys.executable, *program, *sys.argv[1:], *own]
