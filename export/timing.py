"""How long a file takes for a batch, against the dense file."""

import dataclasses
import json
import os
import pathlib
import tempfile
from typing import Any

from lth_tf import files
from lth_tf.cli.process import run_program
from lth_tf.errors import UsageError

from .formats import format_of
from .verification import RUNTIMES_PROGRAM


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds of one batch on one thread; medians of rounds measured in turn."""

    milliseconds: float
    dense_milliseconds: float

    @property
    def speedup(self) -> float:
        """How many times faster than the dense file."""
        return self.dense_milliseconds / self.milliseconds


@dataclasses.dataclass(frozen=True)
class Load:
    """What loading a file takes: seconds, and megabytes the process grows by at most."""

    seconds: float
    megabytes: float


def load_cost(path: str | os.PathLike) -> Load:
    """Measures loading a file in the first runtime of its format, in a process of its own.

    Raises:
        UsageError: if there is no such file.
        RunError: if it does not load.
    """
    form = format_of(pathlib.Path(path))
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "request.json")
        file.write_text(json.dumps({"format": form.name, "path": str(path)}))
        printed = run_program(RUNTIMES_PROGRAM, "load", str(file))
    return Load(*json.loads(printed.splitlines()[-1]))


def latency(
    path: str | os.PathLike,
    dense_path: str | os.PathLike,
    example: Any,
    seconds: float = 3.0,
) -> Latency:
    """Measures a file against the dense file, in turn, in a process of its own.

    Args:
        path: a .tflite file (run in ai_edge_litert) or a SavedModel (TensorFlow).
        dense_path: a file of the same kind.
        example: one batch, an array [n, ...] or name of the input -> array.
        seconds: what to spend on measuring.

    Raises:
        UsageError: if the files are not of the same kind, or of one without a runtime.
        RunError: if one of them does not run.
    """
    paths = [str(path), str(dense_path)]
    one, other = (format_of(pathlib.Path(file)) for file in paths)
    if one is not other or not one.timed:
        raise UsageError(
            f"Expected two .tflite files or two SavedModels. Received: {path} and {dense_path}."
        )
    arrays = example if isinstance(example, dict) else {"inputs": example}
    with tempfile.TemporaryDirectory() as folder:
        files.save_arrays(pathlib.Path(folder, "examples.npz"), arrays)
        request = {
            "format": one.name,
            "paths": paths,
            "examples": str(pathlib.Path(folder, "examples.npz")),
            "seconds": seconds,
        }
        file = pathlib.Path(folder, "request.json")
        file.write_text(json.dumps(request))
        printed = run_program(RUNTIMES_PROGRAM, "time", str(file))
    return Latency(*json.loads(printed.splitlines()[-1]))
