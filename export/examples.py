"""Examples of what a model takes: given by the user, read from a file, or random."""

import dataclasses
import pathlib
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_tf.errors import UsageError, one_line
from lth_tf.files import parse_arrays

from .arrays import Arrays, count, part
from .signature import Signature

LABELS, WEIGHTS = "y", "sample_weight"
RANDOM = 64  # random examples where there are no real ones

_ONE = "x"


@dataclasses.dataclass(frozen=True)
class Examples:
    """What a model takes and should return.

    Attributes:
        inputs: name of the input -> array [n, ...].
        labels: array [n, ...], or name of the output -> array; None if there are none.
        weights: how much each example counts, [n, ...]; None if all count alike.
    """

    inputs: Arrays
    labels: Any = None
    weights: np.ndarray | None = None

    def __len__(self) -> int:
        return count(self.inputs)

    def at(self, places: np.ndarray) -> "Examples":
        """Returns the examples at some places."""
        parts = (self.inputs, self.labels, self.weights)
        return Examples(*keras.tree.map_structure(lambda a: a if a is None else a[places], parts))

    def first(self, number: int) -> Arrays:
        """Returns the first inputs."""
        return part(self.inputs, 0, number)


def named(signature: Signature, examples: Any) -> Arrays:
    """Returns examples by the names of the inputs, in the types that the model takes.

    Args:
        signature: how the model is called.
        examples: an array; or a list or dict of arrays, nested as the model takes them or
            flat by the names of its inputs.

    Raises:
        UsageError: if number, shapes or types do not fit, or a value is not finite.
    """
    specs = signature.specs
    if isinstance(examples, dict) and set(examples) == set(specs):
        arrays = [examples[name] for name in specs]
    else:
        arrays = keras.tree.flatten(examples) if isinstance(examples, (dict, list, tuple)) else []
        arrays = [examples] if len(specs) == 1 and len(arrays) != 1 else arrays
    if len(arrays) != len(specs):
        raise UsageError(
            f"Expected examples for the inputs {', '.join(specs)}. Received: "
            f"{len(arrays) or 1} array{'s' if len(arrays) > 1 else ''}. Pass a dict, name -> array."
        )
    fitting = {
        name: _fitting(name, np.asarray(array), spec)
        for (name, spec), array in zip(specs.items(), arrays, strict=True)
    }
    counts = {name: len(array) for name, array in fitting.items()}
    if len(set(counts.values())) > 1:
        raise UsageError(f"Expected as many examples of each input. Received: {counts}.")
    return fitting


def read(path: pathlib.Path, signature: Signature) -> Examples:
    """Reads a file of examples: .npy, or .npz with one array an input and labels y.

    Raises:
        UsageError: if the file is missing or damaged, or does not fit.
    """
    names = list(signature.specs)
    wanted = _ONE if len(names) == 1 else ", ".join(names)
    try:
        arrays = parse_arrays(path, alone=_ONE)
    except Exception as error:  # whatever a damaged file leads to
        raise UsageError(_no_examples(path, wanted, one_line(error))) from error
    if len(names) == 1 and names[0] not in arrays:
        names = [_ONE]
    missing = [name for name in names if name not in arrays]
    if missing:
        raise UsageError(_no_examples(path, wanted, f"it has {', '.join(arrays) or 'nothing'}"))
    try:
        inputs = named(signature, [arrays.pop(name) for name in names])
    except UsageError as error:
        raise UsageError(f"{error} The examples are those of {path}.") from error
    weights = arrays.pop(WEIGHTS, None)
    labels: np.ndarray | Arrays | None = arrays.pop(LABELS, None)
    if labels is None and arrays:
        labels = arrays
    for array in labels.values() if isinstance(labels, dict) else [labels]:
        if array is not None and (array.ndim == 0 or len(array) != count(inputs)):
            raise UsageError(
                f"Expected {count(inputs)} labels, one an example. Received: --examples={path} "
                f"with labels of shape {array.shape}."
            )
    if weights is not None and (weights.dtype.kind not in "iufb" or len(weights) != count(inputs)):
        raise UsageError(
            f"Expected {count(inputs)} sample weights, numbers, one an example. Received: "
            f"--examples={path} with {WEIGHTS} of shape {weights.shape}, type {weights.dtype}."
        )
    return Examples(inputs, labels, weights)


def random(signature: Signature) -> Examples:
    """Returns random numbers in [0, 1), or 0 to 255 of uint8.

    Raises:
        UsageError: if an input has a free length, or is of whole numbers or text, of which
            nobody knows the meaning.
    """
    generator = np.random.default_rng(0)
    number = max(RANDOM, signature.batch_size or 0)
    inputs = {}
    for name, spec in signature.specs.items():
        shape = (number, *spec.shape[1:])
        if None in shape or not (spec.dtype.is_floating or spec.dtype == tf.uint8):
            raise UsageError(
                f"Expected --examples=FILE.npy: random ones cannot be made for an input of type "
                f"{spec.dtype.name} and shape {tuple(spec.shape[1:])}. Received: none."
            )
        kind = spec.dtype.as_numpy_dtype
        floats = spec.dtype.is_floating
        inputs[name] = (
            generator.random(shape).astype(kind)
            if floats
            else generator.integers(0, 256, shape, kind)
        )
    return Examples(inputs)


def _fitting(name: str, array: np.ndarray, spec: tf.TensorSpec) -> np.ndarray:
    shape = tuple(spec.shape[1:])
    fits = array.ndim == len(shape) + 1 and all(
        want in (None, have) for want, have in zip(shape, array.shape[1:], strict=True)
    )
    text = array.dtype.kind in "SUO"
    of_kind = text == (spec.dtype == tf.string)
    finite = array.dtype.kind != "f" or bool(np.isfinite(array).all())
    if not fits or not len(array) or not of_kind or not finite:
        raise UsageError(
            f"Expected finite examples [n, {', '.join(map(str, shape))}] of type "
            f"{spec.dtype.name} for input {name!r}. Received: shape={array.shape}, "
            f"type={array.dtype}, finite={finite}."
        )
    if text:
        return np.char.encode(array.astype(str), "utf-8") if array.dtype.kind != "S" else array
    return array.astype(spec.dtype.as_numpy_dtype)


def _no_examples(path: pathlib.Path, wanted: str, why: str) -> str:
    return (
        f"Expected a .npy file of the inputs, or an .npz file with an array {wanted}. "
        f"Received: --examples={path} ({why})."
    )
