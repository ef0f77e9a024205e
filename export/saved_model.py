"""SavedModels whose kernels are stored coded and decoded once, when they are loaded.

The file holds stock operations only. One resource, a list of tensors, keeps the
decoded kernels; it is filled by the SavedModel's own initialization.
"""

import os
import pathlib

import keras
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from export import decoding, forward, shrink
from export.coding import Coded, encode
from export.size import kernels
from lth_tf.errors import RunError, UsageError
from lth_tf.files import atomic_path

GRAPH_FILE = "saved_model.pb"
"""What is in every SavedModel folder."""

INPUT, OUTPUT = "inputs", "outputs"

_raw = tf.raw_ops


class _Kernels(tf.saved_model.experimental.TrackableResource):
    """Keeps the decoded kernels, each at its index."""

    def __init__(self, coded: Coded):
        super().__init__()
        self._coded = coded

    def read(self, handle: tf.Tensor) -> list[tf.Tensor]:
        """Returns the kernels behind the resource's handle; nothing is copied."""
        stored = _raw.ReadVariableOp(resource=handle, dtype=tf.variant)
        return [
            _raw.TensorListGetItem(
                input_handle=stored, index=i, element_shape=shape, element_dtype=tf.float32
            )
            for i, shape in enumerate(self._coded.shapes)
        ]

    def _create_resource(self):
        return _raw.VarHandleOp(dtype=tf.variant, shape=[], shared_name="kernels")

    def _initialize(self):
        stored = _raw.EmptyTensorList(
            element_shape=-1, max_num_elements=-1, element_dtype=tf.float32
        )
        for kernel in decoding.decode(self._coded):
            stored = _raw.TensorListPushBack(input_handle=stored, tensor=kernel)
        _raw.AssignVariableOp(resource=self.resource_handle, value=stored)

    def _destroy_resource(self):
        _raw.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)


def to_saved_model(
    model: keras.Model, path: str | os.PathLike, *, values: str = "float32"
) -> pathlib.Path:
    """Writes a model as a SavedModel that is about as small as its remaining weights.

    The kernels are stored as the gaps between their non-zero weights and these
    weights' values, and decoded once when the file is loaded. It loads with
    `tf.saved_model.load`, `keras.layers.TFSMLayer(path, call_endpoint=
    "serving_default")` and TensorFlow 1's loader. Its signature "serving_default"
    takes `inputs`, any batch size, and returns `outputs`. As with every
    SavedModel, keep the loaded object alive while you use its signature.

    It computes with float32 and is as fast as a dense SavedModel, not faster.
    Two files written from the same model are equal to the byte.

    Args:
        model: a built model with one input and one output, without masks
            (`export.strip`), zeros in its kernels.
        path: the folder to write; one that is there is replaced.
        values: what weights are stored as: "float32" exactly, "float16" or "int8"
            rounded. Biases and normalization parameters stay float32.

    Returns:
        `path`.

    Raises:
        UsageError: if the model or `path` does not fit.
        RunError: if the disk is full.

    Example::

        export.to_saved_model(export.strip(model), "ticket", values="float16")
        ticket = tf.saved_model.load("ticket")
        logits = ticket.signatures["serving_default"](inputs=images)["outputs"]
    """
    path = pathlib.Path(path)
    with atomic_path(path, replaces=GRAPH_FILE) as partial:
        try:
            _write(model, partial, values)
        except tf.errors.OpError as error:
            reason = error.message.split("\n")[0]
            raise RunError(
                f"Could not write {path} ({reason}). Nothing was left behind."
            ) from error
    return path


def payload_bytes(model: keras.Model, values: str = "float32") -> int:
    """Returns the bytes of a model's coded kernels before they are deflated."""
    return encode([to_numpy(kernel) for kernel in kernels(model)], values).payload_bytes


def dense_saved_model(model: keras.Model, path: str | os.PathLike) -> pathlib.Path:
    """Writes a model as an ordinary SavedModel, every weight once, to compare with.

    `model.export(path)` writes every weight twice.
    """
    path = pathlib.Path(path)
    root = tf.Module()
    root.weights = [variable.value for variable in model.variables]

    def serve(inputs):
        return {OUTPUT: model(inputs, training=False)}

    traced = tf.function(serve, input_signature=[forward.input_spec(model)], autograph=False)
    with atomic_path(path, replaces=GRAPH_FILE) as partial:
        tf.saved_model.save(root, str(partial), signatures=traced.get_concrete_function())
    return path


def _write(model: keras.Model, path: pathlib.Path, values: str) -> None:
    variables = kernels(model)
    if not variables:
        raise UsageError(
            f"Expected a model with at least one kernel. Received: model={model.name!r}, which has "
            "no float32 weights of rank 2 or more."
        )
    resource = _Kernels(encode([to_numpy(kernel) for kernel in variables], values))
    # It is created here, so that the function below captures it: one that is created
    # inside a function is looked up by name, on the device that the function runs on.
    handle = resource.resource_handle
    graph = forward.trace(model, variables)

    def serve(inputs):
        places = dict(zip(graph.kernels, resource.read(handle), strict=True))
        feeds = {graph.inputs: inputs, **places}
        (outputs,) = tf.graph_util.import_graph_def(
            graph.graph, input_map=feeds, return_elements=[graph.outputs], name=""
        )
        return {OUTPUT: outputs}

    traced = tf.function(serve, input_signature=[forward.input_spec(model)], autograph=False)
    root = tf.Module()
    root.kernels = resource
    tf.saved_model.save(
        root,
        str(path),
        signatures=traced.get_concrete_function(),
        options=tf.saved_model.SaveOptions(save_debug_info=False),
    )
    shrink.shrink(path)
