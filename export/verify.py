"""Loads exported files in stock runtimes and compares them with their models."""

import dataclasses
import json
import os
import pathlib
import tempfile

import keras
import numpy as np
from keras.ops import convert_to_numpy as to_numpy

from lth_tf.cli.process import ProgramError, run_program
from lth_tf.errors import RunError, UsageError

RUNTIMES_PROGRAM = pathlib.Path(__file__).with_name("runtimes.py")

# Each tuple shares a process.
_RUNTIMES = {
    "tflite": (("ai_edge_litert",), ("tf.lite",)),
    "saved_model": (
        ("tf.saved_model.load", "tf.compat.v1.saved_model.load", "keras.layers.TFSMLayer"),
    ),
    "keras": (("keras.models.load_model",),),
}

# Largest difference allowed, as a share of the range of the model's outputs.
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "int8": 0.15}

_MOST_EXAMPLES = 512  # in every process but a format's first
_BATCH = 256


@dataclasses.dataclass(frozen=True)
class Check:
    """A file in one runtime, compared with its model.

    Attributes:
        runtime: the name of the runtime.
        examples: examples compared, in batches of 1, 7 and 64.
        max_difference: largest difference between outputs.
        relative_difference: the same as a share of the range of the model's outputs.
        agreement: fraction of the examples with the same largest output.
    """

    runtime: str
    examples: int
    max_difference: float
    relative_difference: float
    agreement: float


@dataclasses.dataclass(frozen=True)
class Verification:
    """What verifying a file showed.

    Attributes:
        path: the file.
        checks: one for each runtime.
        outputs: what the file computes for all examples, in its first runtime.
    """

    path: pathlib.Path
    checks: tuple[Check, ...]
    outputs: np.ndarray

    @property
    def max_difference(self) -> float:
        """The largest difference in any runtime."""
        return max(check.max_difference for check in self.checks)

    @property
    def relative_difference(self) -> float:
        """The same as a share of the range of the model's outputs."""
        return max(check.relative_difference for check in self.checks)

    @property
    def agreement(self) -> float:
        """The lowest agreement in any runtime."""
        return min(check.agreement for check in self.checks)


def verify(
    path: str | os.PathLike,
    model: keras.Model,
    examples: np.ndarray,
    *,
    values: str = "float32",
) -> Verification:
    """Runs a file in stock runtimes, in processes of their own, and compares it with its model.

    .tflite files run in ai_edge_litert and tf.lite, SavedModels in
    tf.saved_model.load, TensorFlow 1's loader and TFSMLayer, .keras files in Keras
    without lth_tf. Outputs must be finite and as close to the model's as their
    values allow: within 1e-4 (float32), 0.01 (float16) or 0.15 (int8) of the range
    of the model's outputs. The file is only read.

    Args:
        path: a .tflite or .keras file, or a SavedModel folder.
        model: the model that the file was made from.
        examples: inputs of the model, [n, ...]; real ones say most. The first process
            gets all, a second one the first 512.
        values: what the weights in the file are stored as.

    Raises:
        UsageError: if there is no such file or no example.
        RunError: if the file does not load or computes something else; the message
            says where and by how much.

    Example::

        report = export.verify("ticket.tflite", model, images)
        print(report.max_difference, report.agreement)
    """
    path = pathlib.Path(path)
    groups = _RUNTIMES[kind_of(path)]
    if len(examples) == 0:
        raise UsageError("Expected at least one example. Received: none.")
    expected = predict(model, examples)
    checks, outputs = [], None
    try:
        for names in groups:
            shown = examples if outputs is None else examples[:_MOST_EXAMPLES]
            for name, found in _run(path, names, shown).items():
                checks.append(_compare(name, expected, found, values))
                outputs = found if outputs is None else outputs
    except RunError as error:
        raise RunError(f"{path.name} failed verification: {error}") from error
    return Verification(path, tuple(checks), outputs)


def kind_of(path: pathlib.Path) -> str:
    """Returns "tflite", "saved_model" or "keras".

    Raises:
        UsageError: if there is no such file or it is none of these.
    """
    if path.is_dir() and (path / "saved_model.pb").exists():
        return "saved_model"
    if path.is_file() and path.suffix in (".tflite", ".keras"):
        return path.suffix[1:]
    raise UsageError(
        f"Expected a .tflite or .keras file or a SavedModel folder. Received: path={str(path)!r}."
    )


def predict(model: keras.Model, examples: np.ndarray) -> np.ndarray:
    """Returns a model's outputs, computed in batches."""
    starts = range(0, len(examples), _BATCH)
    parts = [model(examples[start : start + _BATCH], training=False) for start in starts]
    return np.concatenate([to_numpy(part) for part in parts])


def _run(path: pathlib.Path, names: tuple[str, ...], examples: np.ndarray) -> dict[str, np.ndarray]:
    """Returns runtime -> outputs, of runtimes that share a process."""
    with tempfile.TemporaryDirectory() as folder:
        np.save(f"{folder}/examples.npy", examples)
        try:
            run_program(
                RUNTIMES_PROGRAM, "run", str(path), f"{folder}/examples.npy", folder, *names
            )
        except ProgramError as error:
            started = [line for line in error.output.splitlines() if line.startswith('"')]
            runtime = json.loads(started[-1]) if started else names[0]
            raise RunError(f"{runtime} does not run it: {error}.") from error
        return {name: np.load(f"{folder}/{name}.npy") for name in names}


def _compare(runtime: str, expected: np.ndarray, found: np.ndarray, values: str) -> Check:
    expected = expected[: len(found)]
    if found.shape != expected.shape:
        raise RunError(f"in {runtime} it returns shape {found.shape}, not {expected.shape}.")
    if not np.isfinite(found).all():
        raise RunError(
            f"in {runtime} {np.mean(~np.isfinite(found)):.2%} of its outputs are NaN or infinite."
        )
    difference = float(np.abs(found - expected).max())
    agreement = float(np.mean(found.argmax(-1) == expected.argmax(-1)))
    # A model with a single output has no range of its own.
    spread = max(float(np.ptp(expected)), float(np.abs(expected).max()), 1e-6)
    allowed = TOLERANCE[values] * spread
    if difference > allowed:
        raise RunError(
            f"in {runtime} its outputs differ from the model's by up to {difference:.3g}; "
            f"{values} weights explain at most {allowed:.3g}. "
            f"{agreement:.2%} of {len(found)} predictions agree."
        )
    return Check(runtime, len(found), difference, difference / spread, agreement)
