"""SavedModels whose kernels are stored coded and decoded once, when they are loaded.

The file holds stock operations only. One resource, a list of tensors, keeps the
decoded kernels; it is filled by the SavedModel's own initialization, which reads them
from a file among the SavedModel's assets.
"""

import os
import pathlib
import tempfile
from collections.abc import Callable, Mapping
from typing import Any

import keras
import tensorflow as tf

from lth_tf.errors import RunError, UsageError
from lth_tf.files import atomic_path
from lth_tf.keras_internals import all_layers

from ..formats.base import Stored
from ..renamed import renamed_argument
from ..signature import Signature, signature_of
from ..size import as_float32, kernel_arrays, kernels
from . import decoding, forward, minify_graph
from .coding import Coded, encode

GRAPH_FILE = "saved_model.pb"
"""What is in every SavedModel folder."""

Called = dict[str, tuple[keras.Model, Signature]]
"""Name of a signature -> what it calls, and how."""

_DEFAULT = "serving_default"
_raw = tf.raw_ops


class _Kernels(tf.saved_model.experimental.TrackableResource):
    """Keeps the decoded kernels, each at its index.

    Args:
        coded: the kernels.
        folder: where the file that they are read from is written, to be copied.
    """

    def __init__(self, coded: Coded, folder: str):
        super().__init__()
        self._shapes = [kernel.shape for kernel in coded.kernels]
        self._decoder = decoding.Decoder(coded)
        file = pathlib.Path(folder, "kernels")
        file.write_bytes(self._decoder.content)
        self.file = tf.saved_model.Asset(str(file))

    def read(self, handle: tf.Tensor, places: list[int]) -> list[tf.Tensor]:
        """Returns kernels behind the resource's handle; nothing is copied."""
        stored = _raw.ReadVariableOp(resource=handle, dtype=tf.variant)
        return [
            _raw.TensorListGetItem(
                input_handle=stored,
                index=place,
                element_shape=self._shapes[place],
                element_dtype=tf.float32,
            )
            for place in places
        ]

    def _create_resource(self) -> tf.Tensor:
        return _raw.VarHandleOp(dtype=tf.variant, shape=[], shared_name="kernels")

    def _initialize(self) -> None:
        stored = _raw.EmptyTensorList(
            element_shape=-1, max_num_elements=-1, element_dtype=tf.float32
        )
        filled = self._decoder.into(stored, _raw.ReadFile(filename=self.file.asset_path))
        _raw.AssignVariableOp(resource=self.resource_handle, value=filled)

    def _destroy_resource(self) -> None:
        _raw.DestroyResourceOp(resource=self.resource_handle, ignore_lookup_error=True)


@renamed_argument("values", "dtype")
def to_saved_model(
    model: keras.Model,
    path: str | os.PathLike,
    *,
    dtype: str = "float32",
    examples: Any = None,
    signatures: Mapping[str, keras.Model] | None = None,
) -> pathlib.Path:
    """Writes a model as a SavedModel that is about as small as its remaining weights.

    The kernels are stored as the gaps between their non-zero weights and these
    weights' values, and decoded once when the file is loaded. It loads with
    `tf.saved_model.load`, `keras.layers.TFSMLayer(path, call_endpoint=
    "serving_default")` and TensorFlow 1's loader. Its signature "serving_default"
    takes `inputs`, any batch size the model does, and returns `outputs`; a model of
    several inputs or outputs has them by their names. As with every SavedModel, keep
    the loaded object alive while you use its signature.

    It computes with float32 and is as fast as a dense SavedModel, not faster.
    Two files written from the same model are equal to the byte.

    Args:
        model: a built model of any kind, without masks (`export.strip`), zeros in its kernels.
        path: the folder to write; one that is there is replaced.
        dtype: what weights are stored as: "float32" exactly, "float16" or "int8"
            rounded. Biases and normalization parameters stay float32.
        examples: inputs as the model takes them; only types are taken from them, for
            subclassed models whose inputs are not float32.
        signatures: name of a further signature -> the model that it calls, such as an encoder
            that is a part of `model`; weights that models share are stored once.

    Returns:
        `path`.

    Raises:
        UsageError: if the model or `path` does not fit.
        RunError: if the disk is full.

    Example::

        export.to_saved_model(export.strip(model), "ticket", dtype="float16")
        ticket = tf.saved_model.load("ticket")
        logits = ticket.signatures["serving_default"](inputs=images)["outputs"]
    """
    path = pathlib.Path(path)
    with atomic_path(path, replaces=GRAPH_FILE) as partial:
        try:
            write_saved_model(model, partial, signature_of(model, examples), dtype, signatures)
        except tf.errors.OpError as error:
            reason = error.message.split("\n")[0]
            raise RunError(
                f"Could not write {path} ({reason}). Nothing was left behind."
            ) from error
    return path


def payload_bytes(model: keras.Model, dtype: str = "float32") -> int:
    """Returns the bytes of a model's coded kernels before they are deflated."""
    return encode(kernel_arrays(model), dtype).payload_bytes


def dense_saved_model(
    model: keras.Model, path: str | os.PathLike, signature: Signature | None = None
) -> pathlib.Path:
    """Writes a model as an ordinary SavedModel, every weight once, to compare with.

    `model.export(path)` writes every weight twice.
    """
    return dense_saved_models({_DEFAULT: (model, signature or signature_of(model))}, path)


def dense_saved_models(models: Called, path: str | os.PathLike) -> pathlib.Path:
    """Writes an ordinary SavedModel of several signatures, shared weights once."""
    path = pathlib.Path(path)
    root = tf.Module()
    root.weights = [variable.value for model, _ in models.values() for variable in model.variables]
    root.tables = [table for model, _ in models.values() for table in _tables(model)]
    traced = {name: _traced(*called) for name, called in models.items()}
    root.others = [variable for function in traced.values() for variable in function.variables]
    with atomic_path(path, replaces=GRAPH_FILE) as partial:
        tf.saved_model.save(root, str(partial), signatures=traced)
    return path


def _traced(model: keras.Model, signature: Signature) -> Any:
    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        return signature.call(model, inputs)

    return tf.function(serve, autograph=False).get_concrete_function(**signature.specs)


def with_others(
    model: keras.Model, signature: Signature, others: Mapping[str, keras.Model] | None = None
) -> Called:
    """Returns what a file's signatures call: the model first, then others.

    Raises:
        UsageError: if another has the name of the model's own, or is not built.
    """
    if others and _DEFAULT in others:
        raise UsageError(
            f"Expected names of further signatures. Received: {_DEFAULT!r}, "
            "which is the model's own."
        )
    more = {name: (other, signature_of(other)) for name, other in (others or {}).items()}
    return {_DEFAULT: (model, signature), **more}


def write_saved_model(
    model: keras.Model,
    path: pathlib.Path,
    signature: Signature,
    dtype: str,
    others: Mapping[str, keras.Model] | None = None,
) -> list[Stored]:
    """Writes the folder as `to_saved_model` does; returns how its kernels are stored."""
    models = with_others(model, signature, others)
    if not kernels(model):
        raise UsageError(
            f"Expected a model with at least one kernel. Received: model={model.name!r}, which has "
            "no weights of rank 2 or more."
        )
    unique = {id(kernel): kernel for part, _ in models.values() for kernel in kernels(part)}
    coded = encode([as_float32(kernel) for kernel in unique.values()], dtype)
    with tempfile.TemporaryDirectory() as folder:
        _save(models, path, _Kernels(coded, folder), list(unique))
    return [
        Stored(kernel.shape, kernel.count, kernel.payload_bytes, "coded, unpacked at load")
        for kernel in coded.kernels
    ]


def _save(
    models: Called,
    path: pathlib.Path,
    resource: _Kernels,
    order: list[int],
) -> None:
    """Writes a signature for each model; `order` has the ids of the kernels in the resource."""
    # It is created here, so that the functions below capture it: one that is created
    # inside a function is looked up by name, on the device that the function runs on.
    handle = resource.resource_handle
    root = tf.Module()
    root.kernels, root.file = resource, resource.file
    root.tables = [table for model, _ in models.values() for table in _tables(model)]
    traced = {}
    variables: list[tf.Variable] = []
    for name, (model, signature) in models.items():
        graph = forward.trace(model, signature, kernels(model))
        places = [order.index(id(kernel)) for kernel in kernels(model)]
        function = tf.function(_serving(graph, resource, handle, places), autograph=False)
        traced[name] = function.get_concrete_function(**signature.specs)
        variables += graph.variables
    root.variables_of_others = variables
    tf.saved_model.save(
        root,
        str(path),
        signatures=traced,
        # Gradients of activations are of no use in a file for inference, and refer to a graph that
        # is not in it.
        options=tf.saved_model.SaveOptions(
            save_debug_info=False, experimental_custom_gradients=False
        ),
    )
    if not variables:
        minify_graph.minify(path)


def _serving(
    graph: forward.Forward, resource: _Kernels, handle: tf.Tensor, places: list[int]
) -> Callable[..., dict[str, tf.Tensor]]:
    """Returns the function of a signature."""

    def serve(**inputs: tf.Tensor) -> dict[str, tf.Tensor]:
        feeds = dict(zip(graph.kernels, resource.read(handle, places), strict=True))
        feeds |= {name: tf.identity(other) for name, other in graph.resources.items()}
        feeds |= {graph.inputs[name]: tensor for name, tensor in inputs.items()}
        results = tf.graph_util.import_graph_def(
            graph.graph,
            input_map=feeds,
            return_elements=list(graph.outputs.values()),
            name="",
        )
        return dict(zip(graph.outputs, results, strict=True))

    return serve


def _tables(model: keras.Model) -> list[tf.Module]:
    """Returns the lookup tables of a model's layers, which a SavedModel has to track."""
    return [
        part
        for layer in all_layers(model)
        for part in vars(layer).values()
        if hasattr(part, "resource_handle") and hasattr(part, "_initialize")
    ]
