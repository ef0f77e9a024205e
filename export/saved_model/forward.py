"""A model's forward pass as a small TensorFlow graph.

Kernels are inputs of the graph, everything else is a constant of it, and what
depends on constants alone (batch normalization's factors, say) is computed now.
"""

import dataclasses
from typing import Any

import keras
import tensorflow as tf

from ..signature import Signature
from .fold_constants import fold_constants


@dataclasses.dataclass(frozen=True)
class Forward:
    """The graph of a forward pass.

    Attributes:
        graph: nodes and library functions.
        inputs: names of the tensors that take the examples.
        kernels: names of the tensors that take the kernels.
        outputs: name of each result -> name of its tensor.
        resources: name of a tensor -> the resource it takes: lookup tables, and variables
            that Keras does not know.
        variables: those of `resources` that are variables.
    """

    graph: tf.compat.v1.GraphDef
    inputs: dict[str, str]
    kernels: tuple[str, ...]
    outputs: dict[str, str]
    resources: dict[str, tf.Tensor]
    variables: tuple[tf.Variable, ...]


def trace(model: keras.Model, signature: Signature, kernels: list[keras.Variable]) -> Forward:
    """Returns the graph of a model at inference.

    Args:
        model: a built model.
        signature: how it is called.
        kernels: the variables that become inputs of the graph.
    """
    places = {id(variable): i for i, variable in enumerate(kernels)}
    variables = [v for v in model.variables if v.name != "seed_generator_state"]
    constants = {id(v): v.numpy() for v in variables if id(v) not in places}

    def forward(tensors: dict[str, tf.Tensor], values: list[tf.Tensor]) -> dict[str, tf.Tensor]:
        def value(variable: keras.Variable) -> tf.Tensor:
            if id(variable) in places:
                return tf.cast(values[places[id(variable)]], variable.dtype)
            return tf.constant(constants[id(variable)])

        with keras.StatelessScope([(variable, value(variable)) for variable in variables]):
            return signature.call(model, tensors)

    specs = [tf.TensorSpec(variable.shape, tf.float32) for variable in kernels]
    traced = tf.function(forward, autograph=False).get_concrete_function(signature.specs, specs)
    graph, resources = _with_constants(traced)
    # Dicts are flattened in the order of their keys.
    given = [tensor.name for tensor in traced.inputs]
    outputs = {name: tensor.name for name, tensor in traced.structured_outputs.items()}
    return Forward(
        graph=fold_constants(graph, list(outputs.values())),
        inputs=dict(zip(sorted(signature.specs), given, strict=False)),
        kernels=tuple(given[len(signature.specs) :][: len(kernels)]),
        outputs=outputs,
        resources=resources,
        variables=tuple(traced.variables),
    )


def _with_constants(traced: Any) -> tuple[tf.compat.v1.GraphDef, dict[str, tf.Tensor]]:
    """Returns a traced graph with eager constants in it, and the resources it still needs."""
    graph = traced.graph.as_graph_def()
    nodes = {node.name: node for node in graph.node}
    resources = {}
    for value, place in traced.graph.captures:
        if value.dtype in (tf.resource, tf.variant):
            resources[place.name] = value
            continue
        node = nodes[place.op.name]
        node.op = "Const"
        node.attr.clear()
        node.attr["dtype"].type = value.dtype.as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value.numpy()))
    return graph, resources
