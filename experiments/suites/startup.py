"""What starting a program takes, and its memory."""

import os
import resource
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator

from lth_tf.cli import process
from lth_tf.errors import RunError

from . import Options, Result, in_turn, register

_PACKAGE = __package__.rpartition(".")[0]


@register("startup")
def startup(options: Options) -> Iterator[Result]:
    """Measures `--help`, imports, and whole programs of one short level, in seconds and memory."""
    commands = {
        "import tensorflow": ["-c", "import tensorflow"],
        "import lth_tf.training.trainer": ["-c", "import lth_tf.training.trainer"],
        "import numba": ["-c", "import numba"],
        "lenet --help": ["-m", f"{_PACKAGE}.lenet", "--help"],
    }
    short = ["--dataset=digits", "--levels=0", "--iterations=100", "--overwrite"]
    for step in ("dense", "sparse"):
        commands[f"lenet, 100 iterations, --step={step}"] = [
            *("-m", f"{_PACKAGE}.lenet"),
            *short,
            f"--step={step}",
        ]
    memory: dict[str, float] = {}
    with tempfile.TemporaryDirectory() as folder:
        timed = {
            name: seconds_of(name, arguments, folder, memory)
            for name, arguments in commands.items()
        }
        yield in_turn("seconds of a process", timed, options.rounds, unit="s")
    yield Result(
        "peak memory of a process", "MB", {name: [value] for name, value in memory.items()}
    )


def seconds_of(
    name: str, arguments: list[str], folder: str, memory: dict[str, float] | None = None
) -> Callable[[], float]:
    """Returns what measures the seconds of a Python process.

    Args:
        name: what it is called.
        arguments: of Python.
        folder: what it runs in.
        memory: takes its name -> the largest peak so far, in MB.

    Raises:
        RunError: when measuring, if the process fails: its seconds would say nothing.
    """
    python, *_ = process.command("x")

    def measure() -> float:
        start = time.perf_counter()
        child = subprocess.Popen(
            [python, *arguments],
            cwd=folder,
            env=process.environment(),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        seconds = time.perf_counter() - start
        if child.returncode:
            raise RunError(f"{name} ended with exit code {child.returncode}: {arguments}.")
        if memory is not None:
            memory[name] = max(memory.get(name, 0.0), _megabytes(usage))
        return seconds

    return measure


def _megabytes(usage: resource.struct_rusage) -> float:
    return usage.ru_maxrss / 1e3
