"""ONNX files, as onnxruntime runs them."""

import importlib
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_tf.cli.tf_logging import held_back_stderr
from lth_tf.errors import RunError
from lth_tf.lazy import lazy_imports, require

from ..arrays import Arrays
from . import Format, Runner, Runtime, Stored, WriteOptions, register

with lazy_imports():
    import tensorflow as tf

    from .. import size

if TYPE_CHECKING:
    import keras

    from ..signature import Signature

_OPSET = 18


def _module(name: str) -> Any:
    """Imports by name: whoever inspects this module would import what it names."""
    require(name)
    return importlib.import_module(name)


def _open(path: str) -> Runner:
    onnxruntime = _module("onnxruntime")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, ["CPUExecutionProvider"])
    given = session.get_inputs()
    names = [output.name for output in session.get_outputs()]

    def run(inputs: Arrays) -> Arrays:
        outputs = session.run(names, {end.name: inputs[end.name] for end in given})
        return {name: np.asarray(value) for name, value in zip(names, outputs, strict=True)}

    first = [end.shape[0] for end in given if end.shape]
    return Runner(run, next((size for size in first if isinstance(size, int)), None))


def _refusal(model: "keras.Model", reason: str) -> RunError:
    return RunError(
        f"Could not convert model {model.name!r} to ONNX: {reason}. "
        "Write a SavedModel, which takes every model."
    )


class Onnx(Format):
    """Without units that cannot matter; kernels are dense, as ONNX has them."""

    name = "onnx"
    suffix = ".onnx"
    dtypes = ("float32",)
    packages = ("tf2onnx", "onnxruntime")
    runtimes = (Runtime("onnxruntime", _open),)

    def recognizes(self, path: pathlib.Path) -> bool:
        """Whether it is an .onnx file."""
        return path.is_file() and path.suffix == ".onnx"

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> list[Stored]:
        """Writes what tf2onnx makes of the model.

        Raises:
            RunError: if it does not know an operation of the model.
        """
        if options.batch_size and signature.batch_size is None:
            signature = signature.with_batch(options.batch_size)
        tf2onnx, names = _module("tf2onnx"), list(signature.specs)

        def call(*tensors: "tf.Tensor") -> dict[str, Any]:
            return signature.call(model, dict(zip(names, tensors, strict=True)))

        traced, specs = tf.function(call, autograph=False), list(signature.specs.values())
        with held_back_stderr():  # its notes, and the nodes that it could not read
            try:
                proto, _ = tf2onnx.convert.from_function(traced, specs, opset=_OPSET)
            except Exception as error:  # the converter raises whatever its passes do
                raise _refusal(model, str(error).partition("\n")[0][:200]) from error
        known = _module("onnx").defs.has
        # What it does not know it leaves as it is.
        missing = {
            node.op_type for node in proto.graph.node if not known(node.op_type, node.domain)
        }
        if missing:
            raise _refusal(model, f"it has no operators for {', '.join(sorted(missing))}")
        path.write_bytes(proto.SerializeToString())
        return size.stored_dense(model)

    def speed_caveats(self, model: "keras.Model", dtype: str) -> list[str]:
        """Returns that zeros make no difference."""
        return ["onnx: smaller and faster by the units that were removed only; zeros are stored."]


register("onnx")(Onnx())
