"""TFLite files, as LiteRT, TensorFlow's interpreter and TFLite Micro run them."""

import importlib
import importlib.util
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_tf.lazy import lazy_imports

from ..arrays import Arrays
from . import Format, Runner, Runtime, Stored, WriteOptions, register

with lazy_imports():
    import tensorflow as tf
    from ai_edge_litert import interpreter

    from ..tflite import convert, speed_caveats

if TYPE_CHECKING:
    import keras

    from ..signature import Signature

_SIGNATURE = "serving_default"


class _Interpreter(Runner):
    """A .tflite file in an interpreter with the interface of tf.lite.Interpreter."""

    def __init__(self, interpreter: Any):
        self._interpreter = interpreter
        runner = interpreter.get_signature_runner(_SIGNATURE)
        self.inputs = runner.get_input_details()
        self.outputs = runner.get_output_details()
        self._shapes: dict[str, tuple[int, ...]] = {}
        first = [details["shape_signature"][:1] for details in self.inputs.values()]
        fixed = [int(size[0]) for size in first if len(size) and size[0] != -1]
        super().__init__(self._compute, fixed[0] if fixed else None)

    def prepare(self, inputs: Arrays) -> Callable[[], None]:
        """Returns the call that computes, without copying examples in and outputs out."""
        shapes = {name: inputs[name].shape for name in self.inputs}
        if shapes != self._shapes:
            self._shapes = shapes
            for name, details in self.inputs.items():
                self._interpreter.resize_tensor_input(details["index"], shapes[name])
            self._interpreter.allocate_tensors()
        for name, details in self.inputs.items():
            self._interpreter.set_tensor(details["index"], _to_type(inputs[name], details))
        return self._interpreter.invoke

    def _compute(self, inputs: Arrays) -> Arrays:
        self.prepare(inputs)()
        return {
            name: _to_float(self._interpreter.get_tensor(details["index"]), details)
            for name, details in self.outputs.items()
        }


def _litert(path: str) -> Runner:
    return _Interpreter(interpreter.Interpreter(path, num_threads=1))


def _tf_lite(path: str) -> Runner:
    return _Interpreter(_interpreter_of_tensorflow(path))


def _interpreter_of_tensorflow(path: str) -> Any:
    return tf.lite.Interpreter(path, num_threads=1)


def _micro(path: str) -> Runner:
    """Opens a file in TFLite Micro, which takes one batch size and knows no names."""
    ends = _Interpreter(_interpreter_of_tensorflow(path))
    # By name: nothing installs it, and whoever inspects this module would import what is named.
    runtime = importlib.import_module("tflite_micro.python.tflite_micro.runtime")
    micro = runtime.Interpreter.from_file(path)

    def run(inputs: Arrays) -> Arrays:
        for place, (name, details) in enumerate(ends.inputs.items()):
            micro.set_input(_to_type(inputs[name], details), place)
        micro.invoke()
        return {
            name: _to_float(micro.get_output(place), details)
            for place, (name, details) in enumerate(ends.outputs.items())
        }

    return Runner(run, ends.batch_size or 1)


def _to_type(examples: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return examples.astype(details["dtype"], copy=False)
    limits = np.iinfo(details["dtype"])
    return np.clip(np.rint(examples / scale) + zero, limits.min, limits.max).astype(limits.dtype)


def _to_float(outputs: np.ndarray, details: dict) -> np.ndarray:
    scale, zero = details["quantization"]
    if not scale:
        return outputs
    return ((outputs.astype(np.float32) - zero) * scale).astype(np.float32)


class TFLite(Format):
    """Kernels are stored sparse and unpacked at load, or read as they are."""

    name = "tflite"
    suffix = ".tflite"
    packages = ("ai_edge_litert",)
    runtimes = (Runtime("ai_edge_litert", _litert), Runtime("tf.lite", _tf_lite, process=1))
    optional_runtimes = (Runtime("tflite_micro", _micro, process=2),)

    def recognizes(self, path: pathlib.Path) -> bool:
        """Whether it is a .tflite file."""
        return path.is_file() and path.suffix == ".tflite"

    def runtimes_of(self, options: WriteOptions) -> tuple[Runtime, ...]:
        """Files for TFLite Micro run there too where its package is installed."""
        micro = options.runtime == "micro" and importlib.util.find_spec("tflite_micro")
        return self.runtimes + (self.optional_runtimes if micro else ())

    def needs_examples(self, dtype: str) -> bool:
        """Ranges of int8 activations are chosen on real inputs."""
        return dtype == "int8"

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> list[Stored]:
        """Writes the sparse file."""
        return convert.write_tflite(model, path, signature, options)

    def write_dense(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> None:
        """Writes the converter's file."""
        path.write_bytes(convert.dense_bytes(model, signature, options))

    def speed_caveats(self, model: "keras.Model", dtype: str) -> list[str]:
        """Returns where zeros do not make it faster."""
        return speed_caveats.speed_caveats(model, dtype)


register("tflite")(TFLite())
