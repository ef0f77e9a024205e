"""Rewrites a dense TFLite file so that its kernels take the room of their nonzeros.

A sparse kernel is stored as compressed sparse rows. A DENSIFY operator unpacks it
once, when the file is loaded; or, for float32 FULLY_CONNECTED, the operator reads
the rows as they are, which is faster where they are few enough, see `direct_density`.

What runtimes do not take is not written:

* no sparse int8 FULLY_CONNECTED, which ai-edge-litert refuses: it becomes a
  CONV_2D that computes the same, as fast for one example and up to 2.5 times slower
  for a batch;
* no sparse float16 behind anything but CONV_2D, DEPTHWISE_CONV_2D and FULLY_CONNECTED, which
  is NaN: float32 where that is smaller, else dense;
* no sparse axis behind a block axis, which some read out of bounds;
* no file that TFLite Micro loads and answers wrongly: it ignores that rows are sparse, but
  refuses DENSIFY, so one is in every file that reads rows directly.
"""

import copy
import math
from typing import NamedTuple

import numpy as np

from lth_tf.tensorflow_internals import tflite_schema as schema

from ..formats.base import Stored
from .csr import Csr, encode, smallest
from .flatbuffer import File, Graph, Op
from .int8_layers import as_convolutions, centred, store_zeros_as_zero
from .reshapes import fix_reshapes, join_reshapes

# Vectors a call multiplies, and bytes of the kernel, up to which -> the most density.
_BY_ROWS = ((1, 0.06), (3, 0.03), (7, 0.02), (math.inf, 0.012))
_BY_SIZE = ((256 * 1024, 0.012), (512 * 1024, 0.03), (math.inf, 0.06))

# Tables that go with a sparse kernel: a tensor, an operator, how it is walked.
_OVERHEAD = 200

# Operator -> where it takes its kernel.
_KERNELS = {
    Op.CONV_2D: 1,
    Op.CONV_3D: 1,
    Op.DEPTHWISE_CONV_2D: 1,
    Op.FULLY_CONNECTED: 1,
    Op.TRANSPOSE_CONV: 1,
    Op.BATCH_MATMUL: 1,
    Op.GATHER: 0,
}
_TAKE_FLOAT16 = (Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.FULLY_CONNECTED)
_TAKE_INT8 = (Op.CONV_2D, Op.FULLY_CONNECTED, Op.TRANSPOSE_CONV, Op.GATHER)


def direct_density(rows: int, size: int) -> float:
    """Returns up to which density FULLY_CONNECTED is faster on sparse rows than dense.

    One row is bound by reading the kernel from memory; many rows, and kernels that stay in a core's
    cache (as in the steps of a loop), by computing, where dense products win by more.

    Args:
        rows: vectors that a call multiplies: examples times tokens.
        size: bytes of the dense kernel.

    Example:
    >>> direct_density(1, 940_800), direct_density(64, 940_800), direct_density(1, 65_536)
    (0.06, 0.012, 0.012)
    """
    by_rows = next(density for most, density in _BY_ROWS if rows <= most)
    return min(by_rows, next(density for most, density in _BY_SIZE if size <= most))


def rewrite(
    content: bytes, *, batch_size: int = 1, optimize: str = "latency", runtime: str = "any"
) -> tuple[bytes, list[Stored]]:
    """Returns a smaller TFLite file that computes the same, and how its kernels are stored.

    Args:
        content: a .tflite file with dense kernels: float32, float16 behind
            DEQUANTIZE, or int8. Kernels that would not get smaller stay.
        batch_size: examples in a call, where the file leaves that free.
        optimize: "latency" reads rows directly where that is faster, "size" never does: with
            an index of one byte along any axis unpacked kernels are smaller.
        runtime: "micro" leaves all kernels dense, which is all that TFLite Micro takes;
            "litert" is for the others only; "any" for all that refuse what they do not know.
    """
    file = File(content)
    if runtime == "micro":
        kernels = [kernel for graph in file.graphs for kernel in _dense_kernels(graph)]
        return file.to_bytes(), kernels
    stored = []
    for graph in file.graphs:
        fix_reshapes(graph)
        # Beside convolutions a dense layer takes no time worth two bytes an index.
        convolutions = any(graph.operators_of(Op.CONV_2D, Op.DEPTHWISE_CONV_2D))
        choice = _Choice(batch_size, optimize == "size", convolutions)
        stored += [_sparse(graph, *kernel, choice) for kernel in _kernels(graph).items()]
        join_reshapes(graph)
    if runtime == "any" and any(kernel.how.endswith("directly") for kernel in stored):
        _refused_by_micro(file.graphs[0])
    return file.to_bytes(), stored


def _dense_kernels(graph: Graph) -> list[Stored]:
    return [_dense(graph.known_constant(kernel)) for kernel in _kernels(graph)]


def _dense(value: np.ndarray) -> Stored:
    return Stored(value.shape, int(np.count_nonzero(value)), value.nbytes, "dense")


class _Choice(NamedTuple):
    """What decides how a kernel is stored."""

    batch_size: int
    smallest: bool
    convolutions: bool  # whether the graph has some

    def rows(self, graph: Graph, users: list[schema.OperatorT]) -> int:
        """Returns how many vectors operators multiply in a call, at most."""

        def of(tensor: int) -> int:
            info = graph.tensors[tensor]
            free = info.shapeSignature is not None and -1 in info.shapeSignature
            return int(np.prod(info.shape[:-1])) * (self.batch_size if free else 1)

        return max(of(int(user.inputs[0])) for user in users)


def _sparse(graph: Graph, kernel: int, users: list[schema.OperatorT], choice: _Choice) -> Stored:
    """Stores a kernel sparse if that is smaller, as its users can take it."""
    given = graph.known_constant(kernel)
    kinds = {graph.kind(user) for user in users}
    value = given
    if given.dtype == np.float16 and not kinds <= set(_TAKE_FLOAT16):
        value = given.astype(np.float32)
    table = given.dtype == np.int8 and kinds == {Op.GATHER}
    if table:
        value = centred(graph, kernel).clip(-127, 127).astype(np.int8)
    if smallest(value).nbytes + _OVERHEAD >= given.nbytes:
        return _dense(given)
    if value.dtype == np.int8 and not _takes_int8(graph, kernel, users, kinds, choice):
        return _dense(given)
    if value.dtype == np.float32 and kinds == {Op.FULLY_CONNECTED}:
        density = np.count_nonzero(value) / value.size
        beside = choice.convolutions or choice.smallest
        if not beside and density <= direct_density(choice.rows(graph, users), value.nbytes):
            csr = encode(value, (0, 1))
            _store(graph, kernel, csr)
            for user in users:
                graph.set_kind(user, Op.FULLY_CONNECTED, version=8)
            return _stored(csr, "sparse, read directly")
    if table:
        store_zeros_as_zero(graph, kernel, users)
    if value.dtype != given.dtype:
        kernel = _without_dequantize(graph, kernel, value)
    csr = smallest(graph.known_constant(kernel))
    _densify(graph, kernel, csr)
    return _stored(csr, "sparse, unpacked at load")


def _stored(csr: Csr, how: str) -> Stored:
    return Stored(csr.shape, int(np.count_nonzero(csr.values)), csr.nbytes, how)


def _takes_int8(
    graph: Graph, kernel: int, users: list[schema.OperatorT], kinds: set[int], choice: _Choice
) -> bool:
    """Whether operators take a sparse int8 kernel; dense layers are made convolutions for it."""
    if Op.FULLY_CONNECTED not in kinds:
        return kinds <= set(_TAKE_INT8)
    # A convolution is slower than a dense layer for several rows, and at each step of a loop
    # that was unrolled.
    if not choice.smallest and (len(users) > 1 or choice.rows(graph, users) > 1):
        return False
    return as_convolutions(graph, kernel, users)


def _without_dequantize(graph: Graph, kernel: int, value: np.ndarray) -> int:
    """Makes the float32 tensor behind a float16 kernel a constant, and returns it."""
    (dequantize,) = graph.consumers(kernel)
    (result,) = map(int, dequantize.outputs)
    graph.operators = [operator for operator in graph.operators if operator is not dequantize]
    graph.set_constant(result, value)
    return result


def _refused_by_micro(graph: Graph) -> None:
    """Adds a DENSIFY that nothing reads, if there is none."""
    if any(graph.operators_of(Op.DENSIFY)):
        return
    unpacked = graph.add_constant(np.ones((1, 1), np.float32))
    _densify(graph, unpacked, encode(np.ones((1, 1), np.float32), (0, 1)))
    graph.keep(unpacked)


def _kernels(graph: Graph) -> dict[int, list[schema.OperatorT]]:
    """Constant kernels of rank >= 2 -> the operators that use them, if nothing else does."""
    producers = graph.producers()
    kernels: dict[int, list[schema.OperatorT]] = {}
    read_otherwise = graph.outputs | {
        int(tensor)
        for operator in graph.operators
        for place, tensor in enumerate(operator.inputs)
        if _KERNELS.get(graph.kind(operator)) != place
    }
    for operator in graph.operators_of(*_KERNELS):
        kernel = int(operator.inputs[_KERNELS[graph.kind(operator)]])
        if kernel in read_otherwise:
            continue
        if kernel in producers and graph.kind(producers[kernel]) == Op.DEQUANTIZE:
            kernel = int(producers[kernel].inputs[0])
            if len(graph.consumers(kernel)) > 1:
                continue
        value = graph.constant(kernel)
        if value is not None and value.ndim >= 2 and value.dtype != np.int32:
            kernels.setdefault(kernel, []).append(operator)
    return kernels


def _store(graph: Graph, tensor: int, csr: Csr) -> None:
    """Makes a tensor a sparse constant."""
    sparsity = schema.SparsityParametersT()
    sparsity.traversalOrder = np.array(csr.order, np.int32)
    sparsity.dimMetadata = [
        schema.DimensionMetadataT(schema.DimensionType.DENSE, csr.shape[axis])
        for axis in csr.order[:-1]
    ]
    rows = schema.DimensionMetadataT(schema.DimensionType.SPARSE_CSR)
    rows.arraySegmentsType, rows.arraySegments = _index_vector(csr.segments)
    rows.arrayIndicesType, rows.arrayIndices = _index_vector(csr.indices)
    sparsity.dimMetadata.append(rows)
    graph.tensors[tensor].sparsity = sparsity
    graph.set_data(tensor, csr.values)


def _index_vector(numbers: np.ndarray) -> tuple[int, object]:
    kinds = schema.SparseIndexVector
    kind, vector = {
        np.dtype(np.uint8): (kinds.Uint8Vector, schema.Uint8VectorT()),
        np.dtype(np.uint16): (kinds.Uint16Vector, schema.Uint16VectorT()),
        np.dtype(np.int32): (kinds.Int32Vector, schema.Int32VectorT()),
    }[numbers.dtype]
    vector.values = numbers
    return kind, vector


def _densify(graph: Graph, kernel: int, csr: Csr) -> None:
    """Makes a constant kernel the result of unpacking a sparse constant."""
    packed = copy.copy(graph.tensors[kernel])
    packed.quantization = None
    packed = graph.add_tensor(packed)
    _store(graph, packed, csr)
    graph.set_data(kernel, None)
    operator = graph.new_operator(Op.DENSIFY, 1, [packed], [kernel])
    graph.operators.insert(0, operator)
