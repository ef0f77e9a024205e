"""What each kernel of a model costs: weights, bytes, multiply-adds."""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_tf.keras_internals import all_layers, own_variables

from .formats.base import Stored
from .signature import Signature
from .size import kernel_arrays, kernels


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel of a model.

    Attributes:
        name: names of its layer and of itself.
        shape: its shape.
        kept: weights that are not 0.
        multiply_adds: of one example, zeros included.
        bytes: what it takes in a file.
        how: how it is stored there.
    """

    name: str
    shape: tuple[int, ...]
    kept: int
    multiply_adds: int
    bytes: int | None = None
    how: str = "-"

    @property
    def size(self) -> int:
        """Weights, zeros included."""
        return math.prod(self.shape)


def costs(model: keras.Model, signature: Signature, stored: Sequence[Stored] = ()) -> list[Kernel]:
    """Returns what the kernels of a model cost, in the order of its weights.

    Args:
        model: a plain model.
        signature: how it is called.
        stored: how a file stores the kernels, in any order.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")])
    >>> from export.signature import signature_of
    >>> (kernel,) = costs(model, signature_of(model))
    >>> kernel.name, kernel.shape, kernel.multiply_adds
    ('fc/kernel', (4, 3), 12)
    """
    operations = _multiply_adds(model, signature)
    left = list(stored)
    found = []
    for variable, array in zip(kernels(model), kernel_arrays(model), strict=True):
        kept = int(np.count_nonzero(array))
        name = "/".join(variable.path.split("/")[-2:])
        place = _stored_as(array.shape, kept, left)
        file = () if place is None else (left[place].bytes, left.pop(place).how)
        count = operations.get(id(variable), 0)
        found.append(Kernel(name, array.shape, kept, count, *file))
    return found


def parameters(model: keras.Model) -> int:
    """Returns the number of a model's weights, zeros and statistics included."""
    return sum(math.prod(weight.shape) for weight in model.weights)


def _stored_as(shape: tuple[int, ...], kept: int, left: list[Stored]) -> int | None:
    """Returns the place of what is a kernel in a file: axes may be in another order there."""

    def form(sizes: Sequence[int]) -> list[int]:
        return sorted(int(size) for size in sizes if size != 1)

    alike = [i for i, item in enumerate(left) if form(item.shape) == form(shape)]
    if not alike:
        alike = [i for i, item in enumerate(left) if math.prod(item.shape) == math.prod(shape)]
    return min(alike, key=lambda i: abs(left[i].nonzeros - kept), default=None)


def _multiply_adds(model: keras.Model, signature: Signature) -> dict[int, int]:
    """Returns id of a kernel -> multiply-adds of one example, seen by calling the model."""
    found: dict[int, int] = {}
    wanted = {id(kernel) for kernel in kernels(model)}

    def seen(layer: keras.layers.Layer, inputs: Any, outputs: Any) -> None:
        # The cell of a recurrent layer does its work once a step.
        cells = [layer.cell] if isinstance(layer, keras.layers.RNN) else []
        for variable in (v for part in (layer, *cells) for v in own_variables(part)):
            if id(variable) in wanted:
                count = _uses(layer, variable, inputs, outputs) * math.prod(variable.shape)
                found[id(variable)] = found.get(id(variable), 0) + round(count)

    specs = signature.with_batch(signature.batch_size or 1).specs
    with _watched(model, seen):
        tf.function(lambda tensors: signature.call(model, tensors)).get_concrete_function(specs)
    batch = signature.batch_size or 1
    return {key: count // batch for key, count in found.items()}


def _uses(layer: keras.layers.Layer, variable: keras.Variable, inputs: Any, outputs: Any) -> float:
    """Returns how often each weight of a kernel is used in a call; 1 for each free length."""
    before, after = _sizes(inputs), _sizes(outputs)
    if isinstance(layer, keras.layers.Embedding):
        return 0
    if isinstance(layer, keras.layers.EinsumDense):
        ins, rest = layer.equation.replace(" ", "").split(",")
        weights, outs = rest.split("->")
        lengths = dict(zip(weights, variable.shape, strict=True))
        produced = math.prod(lengths[axis] for axis in weights if axis in outs and axis not in ins)
        return math.prod(after) / max(1, produced)
    if isinstance(layer, keras.layers.RNN):
        each = math.prod(after[-3:-1]) if len(variable.shape) == 4 else 1
        return before[0] * before[1] * each
    transposed = "Transpose" in type(layer).__name__
    shape = before if transposed else after
    channels_first = getattr(layer, "data_format", None) == "channels_first"
    places = shape[2:] if channels_first else shape[1:-1]
    return shape[0] * math.prod(places)


def _sizes(nested: Any) -> list[int]:
    """Returns the shape of the first tensor, 1 for each free length."""
    first = keras.tree.flatten(nested)[0]
    return [1 if size is None else int(size) for size in first.shape]


@contextlib.contextmanager
def _watched(model: keras.Model, seen: Any) -> Iterator[None]:
    """Calls `seen` with every layer that is called, what it is given and what it returns."""
    every = all_layers(model)
    cells = {id(layer.cell) for layer in every if isinstance(layer, keras.layers.RNN)}
    layers = [layer for layer in every if id(layer) not in cells]

    def watching(layer: keras.layers.Layer) -> Any:
        call = layer.call

        @functools.wraps(call)
        def watched(*args: Any, **kwargs: Any) -> Any:
            outputs = call(*args, **kwargs)
            given = args or tuple(kwargs.values())
            if keras.tree.flatten(outputs) and keras.tree.flatten(given):
                seen(layer, given, outputs)
            return outputs

        return watched

    try:
        for layer in layers:
            object.__setattr__(layer, "call", watching(layer))
        yield
    finally:
        for layer in layers:
            layer.__dict__.pop("call", None)
