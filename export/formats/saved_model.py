"""SavedModels with coded kernels."""

import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_tf.lazy import lazy_imports

from ..arrays import Arrays
from . import Format, Runner, Runtime, Stored, WriteOptions, register

with lazy_imports():
    import keras
    import tensorflow as tf

    from ..saved_model import write

if TYPE_CHECKING:
    from ..signature import Signature


def _load(path: str) -> Runner:
    loaded = tf.saved_model.load(path)
    signature = loaded.signatures["serving_default"]
    shapes = signature.structured_input_signature[1].values()

    def run(inputs: Arrays, _keep_alive: Any = loaded) -> Arrays:
        outputs = signature(**{name: tf.constant(array) for name, array in inputs.items()})
        return {name: _as_array(tensor.numpy()) for name, tensor in outputs.items()}

    return Runner(run, next((shape.shape[0] for shape in shapes if shape.shape.rank), None))


def _load_v1(path: str) -> Runner:
    graph = tf.Graph()
    with graph.as_default():
        session = tf.compat.v1.Session(graph=graph)
        loaded = tf.compat.v1.saved_model.load(session, ["serve"], path)
    signature = loaded.signature_def["serving_default"]
    fetched = {name: tensor.name for name, tensor in signature.outputs.items()}

    def run(inputs: Arrays) -> Arrays:
        feeds = {signature.inputs[name].name: array for name, array in inputs.items()}
        return {k: _as_array(v) for k, v in session.run(fetched, feeds).items()}

    dims = [tensor.tensor_shape.dim for tensor in signature.inputs.values()]
    return Runner(run, next((d[0].size for d in dims if d and d[0].size > 0), None))


def _load_layer(path: str) -> Runner | None:
    loaded = tf.saved_model.load(path)
    taken = loaded.signatures["serving_default"].structured_input_signature[1]
    if len(taken) > 1:
        return None  # the layer calls signatures of one input only
    layer = keras.layers.TFSMLayer(path, call_endpoint="serving_default")
    (spec,) = taken.values()

    def run(inputs: Arrays) -> Arrays:
        (array,) = inputs.values()
        outputs = layer(tf.constant(array))
        return {name: _as_array(tensor.numpy()) for name, tensor in outputs.items()}

    return Runner(run, spec.shape[0] if spec.shape.rank else None)


def _as_array(value: np.ndarray) -> np.ndarray:
    """Strings as numpy stores them without objects."""
    return value.astype("S") if value.dtype == object else value


class SavedModel(Format):
    """Decoded once when it is loaded; computes with dense kernels."""

    name = "saved_model"
    suffix = "_saved_model"
    marker = "saved_model.pb"
    runtimes = (
        Runtime("tf.saved_model.load", _load),
        Runtime("tf.compat.v1.saved_model.load", _load_v1),
        Runtime("keras.layers.TFSMLayer", _load_layer),
    )

    def recognizes(self, path: pathlib.Path) -> bool:
        """Whether it is a folder with a SavedModel in it."""
        return (path / self.marker).exists()

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> list[Stored]:
        """Writes the compact SavedModel."""
        return write.write_saved_model(model, path, signature, options.dtype)

    def write_dense(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> None:
        """Writes an ordinary SavedModel."""
        write.dense_saved_model(model, path, signature)

    def payload_bytes(self, model: "keras.Model", dtype: str) -> int:
        """Returns what the coded kernels take before they are deflated."""
        return write.payload_bytes(model, dtype)

    def speed_caveats(self, model: "keras.Model", dtype: str) -> list[str]:
        """Returns that zeros make it smaller only."""
        return [
            "saved_model: zeros make it smaller, not faster. It is decoded once when it is loaded "
            "and computes with dense kernels."
        ]


register("saved_model")(SavedModel())
