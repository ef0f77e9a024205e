"""A model's forward pass as a small TensorFlow graph.

Kernels are inputs of the graph, everything else is a constant of it, and what
depends on constants alone (batch normalization's factors, say) is computed now.
"""

import dataclasses

import keras
import numpy as np
import tensorflow as tf
from keras.ops import convert_to_numpy as to_numpy

from lth_tf.errors import UsageError

_ALWAYS_FOLDED = 1024  # bytes a folded constant may have however small its origin
_STATEFUL = ("Placeholder", "Variable", "Random", "Read", "Stateless")


@dataclasses.dataclass(frozen=True)
class Forward:
    """The graph of a forward pass.

    Attributes:
        graph: nodes and library functions.
        inputs: name of the tensor that takes the examples.
        kernels: names of the tensors that take the kernels.
        outputs: name of the result.
    """

    graph: tf.compat.v1.GraphDef
    inputs: str
    kernels: tuple[str, ...]
    outputs: str


def input_spec(model: keras.Model) -> tf.TensorSpec:
    """Returns shape (batch None) and type of a model's input.

    Raises:
        UsageError: if it has several inputs or outputs, or is not built.
    """
    if not model.built or len(model.inputs or ()) != 1 or len(model.outputs) != 1:
        raise UsageError(
            "Expected a built model with one input and one output. Received: "
            f"model={model.name!r} with {len(getattr(model, 'inputs', None) or ())} inputs and "
            f"{len(getattr(model, 'outputs', None) or ())} outputs."
        )
    (tensor,) = model.inputs
    return tf.TensorSpec((None, *tensor.shape[1:]), tensor.dtype, name="inputs")


def trace(model: keras.Model, kernels: list[keras.Variable]) -> Forward:
    """Returns the graph of a model at inference.

    Args:
        model: a built model with one input and one output.
        kernels: the variables that become inputs of the graph.
    """
    places = {id(variable): i for i, variable in enumerate(kernels)}
    groups = (model.trainable_variables, model.non_trainable_variables)
    constants = {id(v): to_numpy(v) for group in groups for v in group if id(v) not in places}

    def forward(inputs, *values):
        def value(variable):
            if id(variable) in places:
                return values[places[id(variable)]]
            return tf.constant(constants[id(variable)])

        state = [[value(variable) for variable in group] for group in groups]
        return model.stateless_call(*state, inputs, training=False)[0]

    specs = [tf.TensorSpec(variable.shape, variable.dtype) for variable in kernels]
    traced = tf.function(forward, autograph=False).get_concrete_function(input_spec(model), *specs)
    graph = traced.graph.as_graph_def()
    inputs, *places = [tensor.name for tensor in traced.inputs]
    return Forward(
        graph=fold_constants(graph, traced.outputs[0].name),
        inputs=inputs,
        kernels=tuple(places),
        outputs=traced.outputs[0].name,
    )


def fold_constants(graph: tf.compat.v1.GraphDef, output: str) -> tf.compat.v1.GraphDef:
    """Returns the graph with what depends on constants alone computed.

    A result that is larger than the constants it comes from stays an operation.

    Args:
        graph: a graph; it is left alone.
        output: name of the tensor that must not change.
    """
    nodes = {node.name: node for node in graph.node}
    weight = _constant_bytes(graph)
    read = {
        _tensor(name)
        for node in graph.node
        if node.name not in weight
        for name in node.input
        if _node(name) in weight
    } | ({_tensor(output)} & {f"{name}:0" for name in weight})
    wanted = sorted(name for name in read if nodes[_node(name)].op != "Const")
    values = dict(zip(wanted, _evaluate(graph, wanted), strict=True))
    folded = {
        name: value
        for name, value in values.items()
        if value.nbytes <= max(weight[_node(name)], _ALWAYS_FOLDED)
    }
    return _replace(graph, folded, output)


def _constant_bytes(graph: tf.compat.v1.GraphDef) -> dict[str, int]:
    """Returns node -> bytes of the constants it comes from, for nodes without other origin."""
    library = {function.signature.name for function in graph.library.function}
    weight: dict[str, int] = {}
    for node in graph.node:  # a traced graph is in topological order
        if node.op == "Const":
            weight[node.name] = len(node.attr["value"].tensor.SerializeToString())
        elif (
            node.input
            and not any(name.startswith("^") for name in node.input)
            and not node.op.startswith(_STATEFUL)
            and not any(attr.func.name in library for attr in node.attr.values())
            and all(_node(name) in weight for name in node.input)
        ):
            weight[node.name] = sum(weight[_node(name)] for name in node.input)
    return weight


def _evaluate(graph: tf.compat.v1.GraphDef, tensors: list[str]) -> list[np.ndarray]:
    if not tensors:
        return []
    with tf.Graph().as_default(), tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        return session.run(tensors)


def _replace(
    graph: tf.compat.v1.GraphDef, folded: dict[str, np.ndarray], output: str
) -> tf.compat.v1.GraphDef:
    """Puts constants in place of tensors and drops the nodes nobody needs any more."""
    result = tf.compat.v1.GraphDef()
    result.CopyFrom(graph)
    del result.node[:]
    by_name = {node.name: node for node in graph.node}
    new_names = {name: f"{name.replace(':', '_')}_folded" for name in folded}
    for name, value in folded.items():
        node = result.node.add(name=new_names[name], op="Const")
        node.attr["dtype"].type = tf.as_dtype(value.dtype).as_datatype_enum
        node.attr["value"].tensor.CopyFrom(tf.make_tensor_proto(value))
    needed, kept = [_node(output)], set()
    while needed:
        name = needed.pop()
        if name in kept or name not in by_name:
            continue
        kept.add(name)
        names = [new_names.get(_tensor(entry), entry) for entry in by_name[name].input]
        by_name[name].input[:] = names
        needed += [_node(entry) for entry in names]
    kept -= {node.name for node in graph.node if node.op == "Placeholder"}
    result.node.extend(node for node in graph.node if node.name in kept)
    return result


def _node(name: str) -> str:
    return name.removeprefix("^").split(":")[0]


def _tensor(name: str) -> str:
    return name if ":" in name else f"{name}:0"
