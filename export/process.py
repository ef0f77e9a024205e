"""Runs the programs of this package in processes of their own."""

import os
import pathlib
import signal
import subprocess
import sys

from lth_tf.errors import RunError

_FOLDER = pathlib.Path(__file__).parent


def run_program(name: str, *arguments: str, env: dict[str, str] | None = None) -> str:
    """Runs a file of this package and returns what it prints.

    Args:
        name: the file, e.g. "runtimes.py".
        *arguments: its arguments.
        env: environment variables to add.

    Raises:
        ProgramError: if it fails or crashes.
    """
    # -P: the package's folder must not hide other modules.
    command = [sys.executable, "-P", str(_FOLDER / name), *arguments]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        check=False,
        env={"TF_CPP_MIN_LOG_LEVEL": "3", **os.environ, **(env or {})},
    )
    if done.returncode:
        raise ProgramError(_reason(done), done.stdout)
    return done.stdout


class ProgramError(RunError):
    """A process of this package failed.

    Attributes:
        output: what it had printed.
    """

    def __init__(self, reason: str, output: str):
        super().__init__(reason)
        self.output = output


def _reason(done: subprocess.CompletedProcess) -> str:
    if done.returncode < 0:
        return f"the process crashed with {signal.Signals(-done.returncode).name}"
    lines = [line.strip() for line in done.stderr.splitlines() if line.strip()]
    # The first line of the last error; Python prints what it was caused by before it.
    errors = [line for line in lines if ": " in line and line.split(":")[0].endswith("Error")]
    return (errors or lines or [f"the process ended with code {done.returncode}"])[-1][:300]
