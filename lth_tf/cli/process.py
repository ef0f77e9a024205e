"""Runs a program in a process of its own, and makes one error of its failure."""

import os
import pathlib
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from typing import IO

from lth_tf.errors import RunError

# Where `import lth_tf` finds this package.
_ROOT = str(pathlib.Path(__file__).parents[2])


def run_program(module: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Runs a module as a program and returns what it prints.

    Args:
        module: its dotted name, e.g. `f"{__package__}.runtimes"`.
        *arguments: its arguments.
        env: environment variables to add.

    Raises:
        ProgramError: if it fails or crashes.
    """
    return "".join(lines_of(module, *arguments, env=env))


def lines_of(module: str, *arguments: str, env: dict[str, str] | None = None) -> Iterator[str]:
    """Runs a module as a program and yields each line it prints at once.

    The process ends with the iteration: whoever stops iterating, by an error or by
    closing the generator, stops it.

    Args and errors are those of `run_program`.
    """
    printed = []
    # In a file, because a pipe that nobody reads fills up and the program waits.
    with tempfile.TemporaryFile("w+", errors="replace") as stderr:
        child = subprocess.Popen(
            command(module, *arguments),
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            env=environment(**(env or {})),
        )
        try:
            for line in piped(child.stdout):
                printed.append(line)
                yield line
        except BaseException:
            child.kill()
            raise
        finally:
            piped(child.stdout).close()
            code = child.wait()
        stderr.seek(0)
        if code:
            raise ProgramError(failure(code, stderr.read()), "".join(printed))


def piped(stream: IO[str] | None) -> IO[str]:
    """Returns a stream of a process that was started with `subprocess.PIPE` for it.

    Raises:
        ValueError: if it was not.
    """
    if stream is None:
        raise ValueError("Expected a process started with a pipe. Received: stream=None.")
    return stream


def command(module: str, *arguments: str) -> list[str]:
    """Returns the words that start a module as a program with this Python.

    `environment` lets it import this package.

    Args:
        module: its dotted name.
        *arguments: its arguments.
    """
    # -P: what lies in the working folder must not hide other modules.
    return [sys.executable, "-P", "-m", module, *arguments]


def environment(**added: str) -> dict[str, str]:
    """Returns the environment of a program that imports this package from where it lies.

    Args:
        **added: variables to add.
    """
    paths = [_ROOT, os.environ.get("PYTHONPATH", "")]
    path = os.pathsep.join(path for path in paths if path)
    return {"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, "PYTHONPATH": path, **added}


class ProgramError(RunError):
    """A program in a process of its own failed.

    Attributes:
        output: what it had printed.
    """

    def __init__(self, reason: str, output: str):
        super().__init__(reason)
        self.output = output


def failure(code: int, stderr: str) -> str:
    """Returns in words why a program ended with a code and these lines on stderr."""
    if code < 0:
        return f"the process crashed with {signal.Signals(-code).name}"
    lines = [line.strip() for line in stderr.splitlines() if line.strip()]
    # The first line of the last error; Python prints what it was caused by before it.
    errors = [line for line in lines if ": " in line and line.split(":")[0].endswith("Error")]
    reason = (errors or lines or [f"the process ended with code {code}"])[-1]
    # Errors that were raised on purpose explain themselves.
    return reason.removeprefix(f"{RunError.__module__}.{RunError.__name__}: ")[:300]
