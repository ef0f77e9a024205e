"""Loads exported files in stock runtimes and compares them with their models."""

import dataclasses
import itertools
import json
import os
import pathlib
import tempfile
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_tf import files
from lth_tf.cli.kept import ask
from lth_tf.cli.process import ProgramError
from lth_tf.errors import RunError, UsageError

from .arrays import Arrays, count, part
from .decisions import agreement, kind_of
from .examples import named
from .formats import Format, Runtime, format_of
from .renamed import renamed_argument
from .signature import predict, signature_of

RUNTIMES_PROGRAM = f"{__package__}.runtimes"

# Largest difference allowed, as a share of the range of the model's outputs.
TOLERANCE = {"float32": 1e-4, "float16": 1e-2, "int8": 0.15}

# Least fraction of the model's decisions that a file must share.
LEAST_AGREEMENT = {"float32": 0.99, "float16": 0.97, "int8": 0.9}

_MOST_EXAMPLES = 512  # in every process but a format's first


@dataclasses.dataclass(frozen=True)
class Check:
    """A file in one runtime, compared with its model; of several outputs, the worst.

    Attributes:
        runtime: the name of the runtime.
        examples: examples compared, in batches of 1, 7 and 64, or the file's own size.
        max_difference: largest difference between outputs.
        relative_difference: the same as a share of the range of the model's outputs.
        agreement: fraction of the model's decisions that the file shares, see
            `export.decisions`; 1 if the model makes none.
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
        named_outputs: what the file computes for all examples, in its first runtime.
    """

    path: pathlib.Path
    checks: tuple[Check, ...]
    named_outputs: Arrays

    @property
    def outputs(self) -> Any:
        """What the file computes: an array, or a dict of them if there are several."""
        one = len(self.named_outputs) == 1
        return next(iter(self.named_outputs.values())) if one else self.named_outputs

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


@renamed_argument("values", "dtype")
def verify(
    path: str | os.PathLike,
    model: keras.Model,
    examples: Any,
    *,
    dtype: str = "float32",
    least_agreement: float | None = None,
    runtimes: Sequence[Runtime] | None = None,
) -> Verification:
    """Runs a file in stock runtimes, in processes of their own, and compares it with its model.

    .tflite files run in ai_edge_litert and tf.lite, SavedModels in
    tf.saved_model.load, TensorFlow 1's loader and TFSMLayer, .keras files in Keras
    without lth_tf. Outputs must be finite and as close to the model's as their
    dtype allows: within 1e-4 (float32), 0.01 (float16) or 0.15 (int8) of the range
    of the model's outputs; and the decisions must be the model's in 99, 97 or 90 % of
    the examples. The file is left alone.

    Args:
        path: a .tflite or .keras file, or a SavedModel folder.
        model: the model that the file was made from.
        examples: inputs of the model, [n, ...] each, nested as it takes them or by the names
            of its inputs; real ones say most. The first process gets all, a second one the
            first 512.
        dtype: what the weights in the file are stored as.
        least_agreement: fraction of decisions that must be the model's, in place of the above.
        runtimes: what to run it in, in place of the above.

    Raises:
        UsageError: if there is no such file or no example.
        RunError: if the file does not load or computes something else; the message
            says where and by how much.

    Example::

        report = export.verify("ticket.tflite", model, images)
        print(report.max_difference, report.agreement)
    """
    path = pathlib.Path(path)
    form = format_of(path)
    if dtype not in TOLERANCE:
        raise UsageError(f"Expected one of {', '.join(TOLERANCE)}. Received: dtype={dtype!r}.")
    signature = signature_of(model, examples)
    if not isinstance(examples, (dict, list, tuple)) and len(examples) == 0:
        raise UsageError("Expected at least one example. Received: none.")
    inputs = named(signature, examples)
    least = LEAST_AGREEMENT[dtype] if least_agreement is None else least_agreement
    try:
        expected = predict(signature, model, inputs)
        outputs = _outputs(path, form, runtimes or form.runtimes, inputs)
        checks = [
            _compare(name, expected, found, inputs, dtype, least) for name, found in outputs.items()
        ]
    except RunError as error:
        raise RunError(f"{path.name} failed verification: {error}") from error
    return Verification(path, tuple(checks), next(iter(outputs.values())))


def _outputs(
    path: pathlib.Path, form: Format, runtimes: Sequence[Runtime], inputs: Arrays
) -> dict[str, Arrays]:
    """Returns runtime -> outputs; only the first process gets all inputs."""
    outputs: dict[str, Arrays] = {}
    for _, together in itertools.groupby(runtimes, lambda runtime: runtime.process):
        shown = part(inputs, 0, _MOST_EXAMPLES) if outputs else inputs
        outputs |= _run(path, form, list(together), shown)
    return outputs


def _run(
    path: pathlib.Path, form: Format, runtimes: list[Runtime], examples: Arrays
) -> dict[str, Arrays]:
    """Returns runtime -> outputs, of runtimes that share a process and take such files."""
    names = [runtime.name for runtime in runtimes]
    with tempfile.TemporaryDirectory() as folder:
        files.save_arrays(f"{folder}/examples.npz", examples)
        request = {
            "format": form.name,
            "path": str(path.absolute()),
            "examples": f"{folder}/examples.npz",
            "folder": folder,
            "runtimes": names,
        }
        pathlib.Path(folder, "request.json").write_text(json.dumps(request))
        try:
            use = f"{form.name} {runtimes[0].process}"
            ask(RUNTIMES_PROGRAM, "run", f"{folder}/request.json", use)
        except ProgramError as error:
            started = [line for line in error.output.splitlines() if line.startswith('"')]
            runtime = json.loads(started[-1]) if started else names[0]
            raise RunError(f"{runtime} does not run it: {error}.") from error
        written = [name for name in names if pathlib.Path(folder, f"{name}.npz").exists()]
        return {name: dict(np.load(f"{folder}/{name}.npz")) for name in written}


def _compare(
    runtime: str, expected: Arrays, found: Arrays, inputs: Arrays, dtype: str, least: float
) -> Check:
    if set(found) != set(expected):
        raise RunError(f"in {runtime} it returns {', '.join(found)}, not {', '.join(expected)}.")
    worst = Check(runtime, count(found), 0.0, 0.0, 1.0)
    for name, wanted in expected.items():
        check = _compare_one(runtime, wanted, found[name], inputs, dtype)
        if check.agreement < least:
            raise RunError(
                f"in {runtime} {check.agreement:.2%} of {check.examples} decisions are the "
                f"model's; at least {least:.0%} must be."
            )
        worst = dataclasses.replace(
            worst,
            max_difference=max(worst.max_difference, check.max_difference),
            relative_difference=max(worst.relative_difference, check.relative_difference),
            agreement=min(worst.agreement, check.agreement),
        )
    return worst


def _compare_one(
    runtime: str, expected: np.ndarray, found: np.ndarray, inputs: Arrays, dtype: str
) -> Check:
    kind = kind_of(expected, inputs)
    expected = expected[: len(found)]
    if found.shape != expected.shape:
        raise RunError(f"in {runtime} it returns shape {found.shape}, not {expected.shape}.")
    agreed = agreement(expected, found, kind)
    agreed = 1.0 if agreed is None else agreed
    if expected.dtype.kind != "f":
        return Check(runtime, len(found), 0.0, 0.0, agreed)
    if not np.isfinite(found).all():
        raise RunError(
            f"in {runtime} {np.mean(~np.isfinite(found)):.2%} of its outputs are NaN or infinite."
        )
    difference = float(np.abs(found - expected).max(initial=0))
    # A model with a single output has no range of its own.
    spread = max(float(np.ptp(expected)), float(np.abs(expected).max(initial=0)), 1e-6)
    allowed = TOLERANCE[dtype] * spread
    if difference > allowed:
        raise RunError(
            f"in {runtime} its outputs differ from the model's by up to {difference:.3g}; "
            f"{dtype} weights explain at most {allowed:.3g}. "
            f"{agreed:.2%} of {len(found)} predictions agree."
        )
    return Check(runtime, len(found), difference, difference / spread, agreed)
