"""How long a file takes for one example, against the dense file."""

import dataclasses
import json
import os
import pathlib
import tempfile

import numpy as np

from export.verify import RUNTIMES_PROGRAM, kind_of
from lth_tf.cli.process import run_program
from lth_tf.errors import UsageError

_RUNTIMES = {"tflite": "ai_edge_litert", "saved_model": "tf.saved_model.load"}


@dataclasses.dataclass(frozen=True)
class Latency:
    """Milliseconds of one example on one thread; medians of rounds measured in turn."""

    milliseconds: float
    dense_milliseconds: float

    @property
    def speedup(self) -> float:
        """How many times faster than the dense file."""
        return self.dense_milliseconds / self.milliseconds


def latency(
    path: str | os.PathLike,
    dense_path: str | os.PathLike,
    example: np.ndarray,
    seconds: float = 3.0,
) -> Latency:
    """Measures a file against the dense file, in turn, in a process of its own.

    Args:
        path: a .tflite file (run in ai_edge_litert) or a SavedModel (TensorFlow).
        dense_path: a file of the same kind.
        example: one input, [1, ...].
        seconds: what to spend on measuring.

    Raises:
        UsageError: if the files are not of the same kind, or of one without a runtime.
        RunError: if one of them does not run.
    """
    kinds = {kind_of(pathlib.Path(file)) for file in (path, dense_path)}
    if len(kinds) != 1 or not kinds <= _RUNTIMES.keys():
        raise UsageError(
            f"Expected two .tflite files or two SavedModels. Received: {path} and {dense_path}."
        )
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, example)
        file.flush()
        (kind,) = kinds
        arguments = (str(seconds), _RUNTIMES[kind], str(path), str(dense_path), file.name)
        printed = run_program(RUNTIMES_PROGRAM, "time", *arguments)
    return Latency(*json.loads(printed.splitlines()[-1]))
