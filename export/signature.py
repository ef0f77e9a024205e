"""How a model is called: names, shapes and types of what it takes and returns.

Every file format has named inputs and outputs. A model of one input has "inputs", one of
one output "outputs"; others use the keys of their dicts and the names of their tensors.
"""

import contextlib
import dataclasses
import inspect
import re
from collections.abc import Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from lth_tf.errors import UsageError
from lth_tf.keras_internals import all_layers, built_with, called_with

from .arrays import Arrays, in_batches

INPUT, OUTPUT = "inputs", "outputs"

_HALF = ("float16", "bfloat16")
_BATCH = 256
# Names that Keras gives are others when the model is loaded.
_AUTOMATIC = re.compile(r"$|keras_tensor|input_layer(_\d+)?$")
_NO_INPUTS = ("training", "mask")  # arguments of `call` that Keras fills in


@dataclasses.dataclass(frozen=True)
class Signature:
    """The inputs of a model.

    Attributes:
        specs: name -> shape and type; the batch size is None unless the model fixes it.
        arguments: what the model is called with, names of inputs in the places of tensors.
    """

    specs: dict[str, tf.TensorSpec]
    arguments: tuple[Any, ...]

    @property
    def batch_size(self) -> int | None:
        """The batch size that the model is made for; None if any will do."""
        return next((spec.shape[0] for spec in self.specs.values() if spec.shape.rank), None)

    def with_batch(self, size: int) -> "Signature":
        """Returns the signature with a batch size that is fixed."""
        specs = {
            name: tf.TensorSpec([size, *spec.shape[1:]], spec.dtype, name=name)
            for name, spec in self.specs.items()
        }
        return dataclasses.replace(self, specs=specs)

    def call(self, model: keras.Model, tensors: dict[str, Any]) -> dict[str, Any]:
        """Returns the named outputs of a model at inference, computed in float32."""
        arguments = keras.tree.map_structure(lambda name: tensors[name], self.arguments)
        with _computing_in_float32(model):
            result = model(*arguments, training=False)
        return {name: _as_float32(value) for name, value in _named_outputs(model, result).items()}


def signature_of(model: keras.Model, examples: Any = None) -> Signature:
    """Returns the signature of a built model.

    Args:
        model: any Keras model.
        examples: inputs as the model takes them. Types of the inputs of a subclassed model
            are theirs; without them they are float32.

    Raises:
        UsageError: if the model is not built.
    """
    if not model.built:
        raise UsageError(
            f"Expected a built model. Received: model={model.name!r}, which has no weights yet. "
            "Call it on a batch first."
        )
    _refuse_stateful(model)
    called = called_with(model)
    if called is not None:
        by_name = {"": keras.tree.map_structure(_spec, called)}
    else:
        by_name = _first_call(model, examples)
    keys, arguments = list(by_name), tuple(by_name.values())
    flat = keras.tree.flatten(arguments)
    names = _names(keys, arguments, flat)
    specs = {
        name: tf.TensorSpec(spec.shape, spec.dtype, name=name)
        for name, spec in zip(names, flat, strict=True)
    }
    return Signature(specs, keras.tree.pack_sequence_as(arguments, names))


def predict(signature: Signature, model: keras.Model, examples: Arrays) -> Arrays:
    """Returns a model's outputs, computed in batches."""
    size = signature.batch_size or _BATCH

    def run(batch: Arrays) -> Arrays:
        tensors = {name: tf.constant(array) for name, array in batch.items()}
        return {k: _to_numpy(v) for k, v in signature.call(model, tensors).items()}

    return in_batches(run, examples, size, fixed=signature.batch_size is not None)


def _spec(tensor: keras.KerasTensor) -> tf.TensorSpec:
    return tf.TensorSpec(tensor.shape, _whole(tensor.dtype), name=tensor.name)


def _refuse_stateful(model: keras.Model) -> None:
    for layer in all_layers(model):
        if getattr(layer, "stateful", False) is True:
            raise UsageError(
                f"Expected a model without memory of earlier calls. Received: layer "
                f"{layer.name!r} with stateful=True. Build the model with stateful=False and set "
                "its weights."
            )


def _first_call(model: keras.Model, examples: Any) -> dict[str, Any]:
    """Returns argument -> specs, nested as a subclassed model takes them.

    Keras remembers the shapes of the first argument only, and no types.
    """
    needed = [
        name
        for name, parameter in inspect.signature(model.call).parameters.items()
        if name not in _NO_INPUTS and parameter.default is parameter.empty
    ]
    if examples is not None and len(needed) > 1:
        given = (
            examples if isinstance(examples, dict) else dict(zip(needed, examples, strict=False))
        )
        if set(given) == set(needed):
            return {
                name: keras.tree.map_structure(lambda a: _spec_of(np.shape(a), a), given[name])
                for name in needed
            }
    shapes = built_with(model)
    if not shapes or len(needed) > 1:
        raise UsageError(
            f"Expected examples of what model {model.name!r} takes, a dict of "
            f"{', '.join(needed)}: its class does not say. Received: {type(examples).__name__}."
        )
    flat = iter([] if examples is None else keras.tree.flatten(examples))

    def specs(part: Any) -> Any:
        if isinstance(part, dict):
            return {name: specs(value) for name, value in part.items()}
        if all(length is None or isinstance(length, int) for length in part):
            return _spec_of(part, next(flat, np.float32(0)))
        return tuple(specs(value) for value in part)

    return {name: specs(shape) for name, shape in shapes.items()}


def _spec_of(shape: tuple[int | None, ...], example: Any) -> tf.TensorSpec:
    kind = np.asarray(example).dtype
    dtype = tf.string if kind.kind in "SUO" else "float32" if kind.kind == "f" else kind
    return tf.TensorSpec((None, *shape[1:]), dtype)


def _whole(dtype: str) -> str:
    """Inputs of half precision are taken in single precision: runtimes have no other."""
    return "float32" if dtype in _HALF else dtype


def _names(keys: list[str], arguments: tuple[Any, ...], flat: list[tf.TensorSpec]) -> list[str]:
    if len(flat) == 1 and not isinstance(arguments[0], dict):
        return [INPUT]
    names = []
    for (place, *path), spec in zip(_paths(arguments), flat, strict=True):
        own = [keys[place] if len(keys) > 1 else "", *path]
        name = "_".join(str(key) for key in own if isinstance(key, str) and key)
        names.append(name or ("" if _AUTOMATIC.match(spec.name or "") else spec.name))
    return _unique(names, "input")


def _paths(nested: Any) -> list[tuple[Any, ...]]:
    return [path for path, _ in keras.tree.flatten_with_path(nested)]


def _named_outputs(model: keras.Model, result: Any) -> dict[str, Any]:
    flat = keras.tree.flatten(result)
    if len(flat) == 1 and not isinstance(result, dict):
        return {OUTPUT: flat[0]}
    given = ["_".join(key for key in path if isinstance(key, str)) for path in _paths(result)]
    known = getattr(model, "output_names", None) or []
    if not any(given) and len(known) == len(flat):
        given = list(known)
    return dict(zip(_unique(given, "output"), flat, strict=True))


def _unique(names: list[str], otherwise: str) -> list[str]:
    """Returns names that are different and fit into files: letters, digits and _."""
    names = [re.sub(r"\W", "_", name) for name in names]
    names = [name if name and not name[0].isdigit() else f"{otherwise}_{name}" for name in names]
    return [
        f"{otherwise}_{i}" if name == f"{otherwise}_" or names.count(name) > 1 else name
        for i, name in enumerate(names)
    ]


class _Float32Computation(keras.DTypePolicy):
    """Computes with float32 whatever the variables are: Keras casts them then."""

    def __init__(self, variable_dtype: str):
        super().__init__("float32")
        self._stored = variable_dtype

    @property
    def variable_dtype(self) -> str:
        """What the variables are."""
        return self._stored


@contextlib.contextmanager
def _computing_in_float32(model: keras.Model) -> Iterator[None]:
    """Makes the layers of a mixed or half precision model compute with float32 meanwhile.

    No runtime for files computes with float16 what Keras does, and most have no kernels.
    """
    half = [layer for layer in all_layers(model) if layer.compute_dtype in _HALF]
    policies = [layer.dtype_policy for layer in half]
    try:
        for layer in half:
            layer.dtype_policy = _Float32Computation(layer.variable_dtype)
        yield
    finally:
        for layer, policy in zip(half, policies, strict=True):
            layer.dtype_policy = policy


def _as_float32(value: Any) -> Any:
    dtype = keras.backend.standardize_dtype(value.dtype)
    return tf.cast(value, tf.float32) if dtype in _HALF else value


def _to_numpy(value: Any) -> np.ndarray:
    array = to_numpy(value)
    return array.astype("S") if array.dtype == object else array
