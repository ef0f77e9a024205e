"""Fewer RESHAPE operators in a TFLite graph."""

import numpy as np

from .flatbuffer import Graph, Op


def fix_reshapes(graph: Graph) -> None:
    """Writes shapes that are computed from the batch size as constants: [-1, ...].

    Flatten comes out of the converter as four operators. One is enough: with every
    other length known, -1 can only be the batch size.
    """
    producers = graph.producers()
    for operator in graph.operators_of(Op.RESHAPE):
        packing = producers.get(int(operator.inputs[1])) if len(operator.inputs) > 1 else None
        if packing is None or graph.kind(packing) != Op.PACK:
            continue
        lengths = [graph.constant(int(tensor)) for tensor in packing.inputs]
        if [length is None for length in lengths].count(True) == 1:
            shape = np.array([-1 if n is None else n for n in lengths], np.int32)
            operator.inputs = np.array([operator.inputs[0], graph.add_constant(shape)], np.int32)


def join_reshapes(graph: Graph) -> None:
    """Makes one of reshapes in a row, and none where the shape comes out as it went in."""
    producers = graph.producers()
    for operator in list(graph.operators_of(Op.RESHAPE)):
        before = producers.get(int(operator.inputs[0]))
        if before is None or graph.kind(before) != Op.RESHAPE:
            continue
        source, result = int(before.inputs[0]), int(operator.outputs[0])
        operator.inputs = np.array([source, operator.inputs[1]], np.int32)
        same = np.array_equal(graph.tensors[source].shape, graph.tensors[result].shape)
        if same and result not in graph.outputs:
            for user in graph.consumers(result):
                user.inputs = np.where(user.inputs == result, source, user.inputs).astype(np.int32)
    graph.drop_unused_operators()
