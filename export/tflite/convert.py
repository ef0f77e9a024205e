"""TFLite files: the converter's dense one, and the sparse one made from it."""

import os
import pathlib
import re
import tempfile
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from tensorflow.core.protobuf import saved_model_pb2

from lth_tf.cli.tf_logging import held_back_stderr
from lth_tf.errors import RunError, UsageError
from lth_tf.files import write_bytes
from lth_tf.keras_internals import all_layers
from lth_tf.tensorflow_internals import quantize_whole_tensors

from ..arrays import Arrays, check_finite
from ..examples import named
from ..formats.base import CHOICES, DTYPES, WriteOptions
from ..renamed import renamed_argument
from ..saved_model.write import Called, dense_saved_model, dense_saved_models, with_others
from ..signature import Signature, signature_of
from ..size import kernel_arrays
from .sparsify import Stored, rewrite

_CALIBRATION_EXAMPLES = 256
_BRANCHING = ("While", "StatelessWhile", "If", "StatelessIf")
_LOOPS = "int8 files cannot hold loops, nor branches"
# Scale and zero point of a channel are 12 bytes; they may be this fraction of the
# nonzeros with their indices before one pair for the whole kernel is used.
_PARAMETERS_AT_MOST = 0.25


@renamed_argument("values", "dtype")
def to_tflite(
    model: keras.Model,
    path: str | os.PathLike | None = None,
    *,
    dtype: str = "float32",
    examples: Any = None,
    batch_size: int | None = None,
    optimize: str = "latency",
    runtime: str = "any",
    signatures: Mapping[str, keras.Model] | None = None,
) -> pathlib.Path | bytes:
    """Writes a model as a TFLite file whose kernels take the room of their nonzeros.

    Stock interpreters load it. It computes what the dense file does, bit for bit
    except where float32 layers are run on their nonzeros alone (one example: up to 6 %
    density, many: up to 1 %): there sums are rounded in another order. Its signature
    "serving_default" has an input "inputs" and an output "outputs", or those of the model
    by their names. The batch size is free, unless the model fixes it or has loops
    (recurrent layers), which the converter takes for a fixed one only. int8 files are made
    for batches of one: dense layers in them can be up to 2.5 times slower than in the
    dense file on larger ones.

    Args:
        model: a plain model with zeros in its kernels; see `export.strip` and
            `export.compact`. Of mixed or half precision it is computed in float32.
        path: where to write; an existing file is replaced. None returns the content.
        dtype: "float32", "float16" or "int8".
        examples: inputs as the model takes them, [n, ...] each, for int8: they set the
            ranges of activations. A few hundred are enough. Types of the inputs of
            subclassed models are taken from them as well.
        batch_size: the batch size of the file; None leaves it free where that is possible
            and takes 1 where it is not.
        optimize: "latency", or "size" to unpack all kernels at load, which is smaller.
        runtime: "any"; "litert" for files that TFLite Micro need not refuse; "micro" for
            dense kernels, the only ones it runs.
        signatures: name -> a model that the file can run too, e.g. a part of `model`. Weights
            that models share are stored once. Not of int8 files, nor of those for TFLite Micro.

    Returns:
        `path`, or the content of the file if that is None.

    Raises:
        UsageError: if `dtype` is unknown, a weight is not finite, int8 comes without examples,
            float16 is asked for TFLite Micro, signatures for it or for int8, the examples do
            not fit the model, or the folder cannot be written to.
        RunError: if the converter cannot convert the model, or the disk is full.

    Example::

        export.to_tflite(export.compact(model), "ticket.tflite", dtype="float16")
    """
    signature, options = _options(
        model, dtype, examples, batch_size, optimize=optimize, runtime=runtime
    )
    if signatures and (dtype == "int8" or runtime == "micro"):
        reason = (
            "ranges of int8 activations are those of one"
            if dtype == "int8"
            else "TFLite Micro runs one, and not always the model's own"
        )
        raise UsageError(
            f"Expected a file without further signatures: {reason}. Received: dtype={dtype!r}, "
            f"runtime={runtime!r}, signatures={', '.join(signatures)}. Write a file for each."
        )
    content, _ = _rewritten(with_others(model, signature, signatures), options)
    if path is None:
        return content
    write_bytes(pathlib.Path(path), content)
    return pathlib.Path(path)


def write_tflite(
    model: keras.Model, path: pathlib.Path, signature: Signature, options: WriteOptions
) -> list[Stored]:
    """Writes a file as `to_tflite` does; returns how its kernels are stored."""
    content, stored = _rewritten(with_others(model, signature), options)
    path.write_bytes(content)
    return stored


def _rewritten(models: Called, options: WriteOptions) -> tuple[bytes, list[Stored]]:
    return rewrite(
        _dense_bytes(models, options),
        batch_size=options.batch_size or 1,
        optimize=options.optimize,
        runtime=options.runtime,
    )


def _options(
    model: keras.Model, dtype: str, examples: Any, batch_size: int | None, **others: str
) -> tuple[Signature, WriteOptions]:
    """Returns what the arguments of the public functions mean."""
    if dtype not in DTYPES:
        raise UsageError(f"Expected one of {', '.join(DTYPES)}. Received: dtype={dtype!r}.")
    for name, value in others.items():
        if value not in CHOICES[name]:
            raise UsageError(
                f"Expected one of {', '.join(CHOICES[name])}. Received: {name}={value!r}."
            )
    signature = signature_of(model, examples)
    arrays = None if examples is None else named(signature, examples)
    return signature, WriteOptions(dtype, arrays, batch_size, **others)


def dense_bytes(model: keras.Model, signature: Signature, options: WriteOptions) -> bytes:
    """Returns the converter's file of a model that is called in a known way."""
    return _dense_bytes(with_others(model, signature), options)


def _dense_bytes(models: Called, options: WriteOptions) -> bytes:
    model, signature = next(iter(models.values()))
    dtype, arrays = options.dtype, options.examples
    if dtype == "int8" and arrays is None:
        raise UsageError(
            "Expected examples for dtype=int8: inputs as the model will see them set the ranges "
            f"of its activations. Received: examples=None. Pass an array {_shapes(signature)}."
        )
    if dtype == "float16" and options.runtime == "micro":
        raise UsageError(
            "Expected dtype=float32 or int8 for TFLite Micro, which takes no float16 weights. "
            "Received: dtype='float16', runtime='micro'."
        )
    for part, _ in models.values():
        check_finite(kernel_arrays(part))
    if options.batch_size:
        size = options.batch_size
        models = {name: (part, own.with_batch(size)) for name, (part, own) in models.items()}
    # Loops over lists of tensors need to know the shape of what is in them.
    tried = [models, _in_ones(models)] if _free(models) else [models]
    for attempt in tried:
        try:
            return _convert(attempt, dtype, arrays)
        except _NotConverted as error:
            failure = error
    raise RunError(_refusal(model, dtype, signature, failure)) from failure


class _NotConverted(Exception):
    """What the converter said."""


def _free(models: Called) -> bool:
    return any(signature.batch_size is None for _, signature in models.values())


def _in_ones(models: Called) -> Called:
    """Returns the same with batches of one where any size would do."""
    return {
        name: (model, signature if signature.batch_size else signature.with_batch(1))
        for name, (model, signature) in models.items()
    }


def _convert(models: Called, dtype: str, examples: Arrays | None) -> bytes:
    model, signature = next(iter(models.values()))
    with tempfile.TemporaryDirectory() as folder:
        path = dense_saved_models(models, pathlib.Path(folder, "dense"))
        if dtype == "int8" and _has_loops(path):
            path = _without_loops(model, signature, pathlib.Path(folder, "unrolled"))
        converter = tf.lite.TFLiteConverter.from_saved_model(str(path))
        if dtype != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if dtype == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if dtype == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            if examples is None:
                raise ValueError("Expected examples to choose ranges on. Received: examples=None.")
            converter.representative_dataset = partial(_calibration, examples, signature)
            quantize_whole_tensors(converter, _parameters_dominate(model))
        with held_back_stderr():  # its notes, and the graphs that it could not read
            try:
                return converter.convert()
            except Exception as error:  # the converter raises whatever its passes do
                failure = error
        raise _NotConverted(str(failure)) from failure


def _without_loops(model: keras.Model, signature: Signature, path: pathlib.Path) -> pathlib.Path:
    """Writes a model step after step: the converter crashes where it quantizes a loop."""
    recurrent = [layer for layer in all_layers(model) if hasattr(layer, "unroll")]
    before = [layer.unroll for layer in recurrent]
    try:
        for layer in recurrent:
            layer.unroll = True
        dense_saved_model(model, path, signature)
    except ValueError as error:  # Keras, of a length that is not known
        raise _NotConverted(_LOOPS) from error
    finally:
        for layer, unroll in zip(recurrent, before, strict=True):
            layer.unroll = unroll
    if _has_loops(path):
        raise _NotConverted(_LOOPS)
    return path


def _has_loops(path: pathlib.Path) -> bool:
    saved = saved_model_pb2.SavedModel.FromString((path / "saved_model.pb").read_bytes())
    functions = saved.meta_graphs[0].graph_def.library.function
    return any(node.op in _BRANCHING for function in functions for node in function.node_def)


def _calibration(examples: Arrays, signature: Signature) -> Iterator[Arrays]:
    size = signature.batch_size or 1
    count = len(next(iter(examples.values())))
    step = max(1, count // _CALIBRATION_EXAMPLES)
    chosen = np.arange(0, count, step)[:_CALIBRATION_EXAMPLES]
    for start in range(0, len(chosen), size):
        batch = np.resize(chosen[start : start + size], size)
        yield {name: array[batch] for name, array in examples.items()}


def _parameters_dominate(model: keras.Model) -> bool:
    """Whether a scale for every channel would take too much beside the nonzeros."""
    kernels = kernel_arrays(model)
    nonzeros = sum(np.count_nonzero(kernel) for kernel in kernels)
    return 12 * sum(kernel.shape[-1] for kernel in kernels) > _PARAMETERS_AT_MOST * 2 * nonzeros


def _shapes(signature: Signature) -> str:
    return " and ".join(
        f"[n, {', '.join(map(str, spec.shape[1:]))}]" for spec in signature.specs.values()
    )


def _refusal(model: keras.Model, dtype: str, signature: Signature, error: Exception) -> str:
    """Returns one line on why a model cannot be converted, and what to try."""
    text = str(error)
    missing = sorted(
        set(re.findall(r"(?:Flex|Custom)?\btf\.(\w+)\(", text))
        | set(re.findall(r"^\s*(?:Flex|Custom) ops: (.*)$", text, re.MULTILINE))
    )
    ways = []
    if dtype == "int8":
        ways.append("use dtype=float32 or float16")
    if any(None in spec.shape[1:] for spec in signature.specs.values()):
        ways.append("give the model's inputs a fixed length")
    ways.append("write a SavedModel, which takes every model")
    reason = f"TFLite has no built-in operators for {', '.join(missing)}" if missing else ""
    advice = ", or ".join(ways)
    return (
        f"Could not convert model {model.name!r} to TFLite with dtype={dtype}: "
        f"{reason or _first_words(text)}. {advice[0].upper()}{advice[1:]}."
    )


def _first_words(text: str) -> str:
    """Returns what an error says, without the program text it quotes."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    for line in lines:
        for part in re.split(r"(?:^|\s)error: ", line):
            if part and not re.search(r"loc\(|^<unknown>|%\d|callsite|^at ", part):
                return part[:200].rstrip(".:")
    return "the converter failed"
