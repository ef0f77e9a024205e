"""TFLite files: the converter's dense one, and the sparse one made from it."""

import os
import pathlib
import tempfile
from collections.abc import Iterator

import keras
import numpy as np

from export.sparse_tflite import sparsify
from lth_tf.cli.tf_logging import held_back_stderr
from lth_tf.errors import RunError, UsageError
from lth_tf.files import write_bytes

VALUES = ("float32", "float16", "int8")
"""How the values of kernels can be stored."""

_CALIBRATION_EXAMPLES = 256
# Scale and zero point of a channel are 12 bytes; they may be this fraction of the
# nonzeros with their indices before one pair for the whole kernel is used.
_PARAMETERS_AT_MOST = 0.25


def to_tflite(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    values: str = "float32",
    examples: np.ndarray | None = None,
) -> pathlib.Path:
    """Writes a model as a TFLite file whose kernels take the room of their nonzeros.

    Stock interpreters load it. It computes what the dense file does, bit for bit
    except where float32 layers of at most 6 % density are run on their nonzeros
    alone: there sums are rounded in another order. Its signature
    "serving_default" has an input "inputs" and an output "outputs", the batch size
    is free. int8 files are made for batches of one: dense layers in them can be up to
    2.5 times slower than in the dense file on larger ones.

    Args:
        model: a plain model with one input and one output, zeros in its kernels;
            see `export.strip` and `export.compact`.
        path: where to write; an existing file is replaced.
        values: "float32", "float16" or "int8".
        examples: [n, ...] float32 inputs as the model will see them, for int8: they
            set the ranges of activations. A few hundred are enough.

    Returns:
        `path`.

    Raises:
        UsageError: if `values` is unknown, int8 comes without examples, the
            examples do not fit the model, or the folder cannot be written to.
        RunError: if the converter cannot convert the model, or the disk is full.

    Example::

        export.to_tflite(export.compact(model), "ticket.tflite", values="float16")
    """
    path = pathlib.Path(path)
    content = sparsify(dense_tflite(model, values, examples))
    write_bytes(path, content)
    return path


def dense_tflite(
    model: keras.Model, values: str = "float32", examples: np.ndarray | None = None
) -> bytes:
    """Returns the TFLite file that the converter makes of a model.

    Args:
        model: as in `to_tflite`.
        values: as in `to_tflite`.
        examples: as in `to_tflite`.

    Raises:
        UsageError: as in `to_tflite`.
        RunError: if the converter cannot convert the model.
    """
    _check(model, values, examples)
    import tensorflow as tf

    with tempfile.TemporaryDirectory() as folder:
        _save(model, folder)
        converter = tf.lite.TFLiteConverter.from_saved_model(folder)
        if values != "float32":
            converter.optimizations = [tf.lite.Optimize.DEFAULT]
        if values == "float16":
            converter.target_spec.supported_types = [tf.float16]
        if values == "int8":
            converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
            converter.representative_dataset = lambda: _calibration(examples)
            converter._experimental_disable_per_channel = _parameters_dominate(model)
        try:
            with held_back_stderr():  # its notes on the types it chose
                return converter.convert()
        except Exception as error:
            raise RunError(
                f"Could not convert model {model.name!r} to TFLite with values={values}: "
                f"{str(error).strip().splitlines()[0]}"
            ) from error


def _check(model: keras.Model, values: str, examples: np.ndarray | None) -> None:
    if values not in VALUES:
        raise UsageError(f"Expected one of {', '.join(VALUES)}. Received: values={values!r}.")
    if len(model.inputs) != 1 or len(model.outputs) != 1:
        raise UsageError(
            "Expected a model with one input and one output. "
            f"Received: {len(model.inputs)} inputs and {len(model.outputs)} outputs."
        )
    if values != "int8":
        return
    shape = model.inputs[0].shape[1:]
    if examples is None:
        raise UsageError(
            "Expected examples for values=int8: inputs as the model will see them set the ranges "
            f"of its activations. Received: examples=None. Pass an array [n, {_text(shape)}]."
        )
    examples = np.asarray(examples)
    fits = len(shape) == examples.ndim - 1 and all(
        expected in (None, received)
        for expected, received in zip(shape, examples.shape[1:], strict=True)
    )
    if not fits or not len(examples) or not np.isfinite(examples).all():
        raise UsageError(
            f"Expected finite examples [n, {_text(shape)}]. "
            f"Received: shape={examples.shape}, finite={bool(np.isfinite(examples).all())}."
        )


def _text(shape: tuple[int | None, ...]) -> str:
    return ", ".join(map(str, shape))


def _save(model: keras.Model, folder: str) -> None:
    """Saves a model for the converter, without the listing that Keras prints."""
    archive = keras.export.ExportArchive()
    archive.track(model)
    spec = model.inputs[0]
    archive.add_endpoint(
        "serve",
        lambda inputs: {"outputs": model(inputs, training=False)},
        [keras.InputSpec(shape=spec.shape, dtype=spec.dtype, name="inputs")],
    )
    archive.write_out(folder, verbose=False)


def _calibration(examples: np.ndarray) -> Iterator[list[np.ndarray]]:
    step = max(1, len(examples) // _CALIBRATION_EXAMPLES)
    for example in examples[::step][:_CALIBRATION_EXAMPLES]:
        yield [np.asarray(example, np.float32)[None]]


def _parameters_dominate(model: keras.Model) -> bool:
    """Whether a scale for every channel would take too much beside the nonzeros."""
    kernels = [
        keras.ops.convert_to_numpy(weight) for weight in model.weights if len(weight.shape) > 1
    ]
    nonzeros = sum(np.count_nonzero(kernel) for kernel in kernels)
    return 12 * sum(kernel.shape[-1] for kernel in kernels) > _PARAMETERS_AT_MOST * 2 * nonzeros
