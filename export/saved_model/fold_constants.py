"""Computes ahead of time what a TensorFlow graph computes from constants alone."""

import numpy as np
import tensorflow as tf

from lth_tf.tensorflow_internals import op_definition

_ALWAYS_FOLDED = 1024  # bytes a folded constant may have however small its origin
# Not stateful to TensorFlow, yet no constants: what is fed, and what holds functions.
_NEVER_FOLDED = ("Placeholder", "Random", "Stateless")
_NO_VALUE = (tf.resource, tf.variant)


def fold_constants(graph: tf.compat.v1.GraphDef, outputs: list[str]) -> tf.compat.v1.GraphDef:
    """Returns the graph with what depends on constants alone computed.

    A result that is larger than the constants it comes from stays an operation, and so
    does one that is no array: lists of tensors, tables.

    Args:
        graph: a graph; it is left alone.
        outputs: names of the tensors that must not change.
    """
    nodes = {node.name: node for node in graph.node}
    weight = _constant_bytes(graph)
    read = {
        _tensor(name)
        for node in graph.node
        if node.name not in weight
        for name in node.input
        if _node(name) in weight
    }
    wanted = sorted(name for name in read if nodes[_node(name)].op != "Const")
    folded = {
        name: value
        for name, value in _evaluate(graph, wanted).items()
        if value.nbytes <= max(weight[_node(name)], _ALWAYS_FOLDED)
    }
    return _replace(graph, folded, outputs)


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
            and not node.op.startswith(_NEVER_FOLDED)
            and not _is_stateful(node.op)
            and not any(attr.func.name in library for attr in node.attr.values())
            and all(_node(name) in weight for name in node.input)
        ):
            weight[node.name] = sum(weight[_node(name)] for name in node.input)
    return weight


def _is_stateful(op: str) -> bool:
    definition = op_definition(op)
    return definition is None or definition.is_stateful


def _evaluate(graph: tf.compat.v1.GraphDef, tensors: list[str]) -> dict[str, np.ndarray]:
    """Returns the values of the tensors that are arrays."""
    if not tensors:
        return {}
    with tf.Graph().as_default() as built, tf.compat.v1.Session() as session:
        tf.import_graph_def(graph, name="")
        arrays = [n for n in tensors if built.get_tensor_by_name(n).dtype not in _NO_VALUE]
        values = session.run(arrays)
    return {name: np.asarray(value) for name, value in zip(arrays, values, strict=True)}


def _replace(
    graph: tf.compat.v1.GraphDef, folded: dict[str, np.ndarray], outputs: list[str]
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
    needed, kept = [_node(name) for name in outputs], set()
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
