"""Rewrites a dense TFLite file so that its kernels take the room of their nonzeros.

A sparse kernel is stored as compressed sparse rows. A DENSIFY operator unpacks it
once, when the file is loaded; or, for float32 FULLY_CONNECTED, the operator reads
the rows as they are, which is faster from about 6 % density down.

What runtimes do not take is not written:

* no sparse int8 FULLY_CONNECTED, which ai-edge-litert refuses: it becomes a
  CONV_2D that computes the same, as fast for one example and up to 2.5 times slower
  for a batch;
* no sparse axis behind a block axis, which some read out of bounds.
"""

import copy

import numpy as np
from tensorflow.lite.python import schema_py_generated as schema

from export.tflite.csr import Csr, encode, smallest
from export.tflite.flatbuffer import Graph, Op

DIRECT_DENSITY = 0.06
"""Up to this density a FULLY_CONNECTED is faster on sparse rows than dense."""

# Tables that go with a sparse kernel: a tensor, an operator, how it is walked.
_OVERHEAD = 200
_KERNELS = (Op.CONV_2D, Op.DEPTHWISE_CONV_2D, Op.FULLY_CONNECTED)


def sparsify(content: bytes) -> bytes:
    """Returns a smaller TFLite file that computes the same.

    Args:
        content: a .tflite file with dense kernels: float32, float16 behind
            DEQUANTIZE, or int8. Kernels that would not get smaller stay, and so
            does a file with more than one graph (loops).
    """
    graph = Graph(content)
    if len(graph.model.subgraphs) > 1:
        return content
    _fix_reshapes(graph)
    direct = not any(graph.operators_of(Op.CONV_2D, Op.DEPTHWISE_CONV_2D))
    for kernel, users in _kernels(graph).items():
        value = graph.constant(kernel)
        if smallest(value).nbytes + _OVERHEAD >= value.nbytes:
            continue
        fully_connected = all(graph.kind(user) == Op.FULLY_CONNECTED for user in users)
        if value.dtype == np.int8 and not _as_convolutions(graph, kernel, users):
            continue
        density = np.count_nonzero(value) / value.size
        if direct and fully_connected and value.dtype == np.float32 and density <= DIRECT_DENSITY:
            _store(graph, kernel, encode(value, (0, 1)))
            for user in users:
                graph.set_kind(user, Op.FULLY_CONNECTED, version=8)
        else:
            _densify(graph, kernel)
    _join_reshapes(graph)
    return graph.to_bytes()


def _kernels(graph: Graph) -> dict[int, list[schema.OperatorT]]:
    """Constant kernels of rank >= 2 -> the operators that use them, if nothing else does."""
    producers, kernels = graph.producers(), {}
    read_otherwise = graph.outputs | {
        int(tensor)
        for operator in graph.operators
        for place, tensor in enumerate(operator.inputs)
        if place != 1 or graph.kind(operator) not in _KERNELS
    }
    for operator in graph.operators_of(*_KERNELS):
        kernel = int(operator.inputs[1])
        if kernel in read_otherwise:
            continue
        if kernel in producers and graph.kind(producers[kernel]) == Op.DEQUANTIZE:
            kernel = int(producers[kernel].inputs[0])
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


def _densify(graph: Graph, kernel: int) -> None:
    """Makes a constant kernel the result of unpacking a sparse constant."""
    csr = smallest(graph.constant(kernel))
    packed = copy.copy(graph.tensors[kernel])
    packed.quantization = None
    packed = graph.add_tensor(packed)
    _store(graph, packed, csr)
    graph.set_data(kernel, None)
    operator = graph.new_operator(Op.DENSIFY, 1, [packed], [kernel])
    graph.operators.insert(0, operator)


def _fix_reshapes(graph: Graph) -> None:
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


def _as_convolutions(graph: Graph, kernel: int, users: list[schema.OperatorT]) -> bool:
    """Makes int8 FULLY_CONNECTED operators CONV_2D ones; False if one cannot be."""
    kinds = {graph.kind(user) for user in users}
    if kinds == {Op.CONV_2D}:
        return True
    flat = all(
        len(graph.tensors[int(tensor)].shape) == 2
        for user in users
        for tensor in (user.inputs[0], user.outputs[0])
    )
    if kinds != {Op.FULLY_CONNECTED} or not flat:
        return False
    image = _as_image(graph.constant(kernel))
    graph.tensors[kernel].shape = np.array(image.shape, np.int32)
    for user in users:
        _as_convolution(graph, user, image.shape[1:])
    return True


def _as_image(kernel: np.ndarray) -> np.ndarray:
    """Returns a kernel [units, inputs] as [units, 1, width, channels].

    Seen as a row of pixels of at most 256 channels each, the inputs have an index
    of one byte.
    """
    units, inputs = kernel.shape
    widths = {1, next(n for n in range(1, inputs + 1) if inputs % n == 0 and inputs // n <= 256)}
    images = [kernel.reshape(units, 1, width, inputs // width) for width in sorted(widths)]
    return min(images, key=lambda image: smallest(image).nbytes)


def _as_convolution(graph: Graph, operator: schema.OperatorT, image: tuple[int, int, int]) -> None:
    """Makes a FULLY_CONNECTED a CONV_2D whose kernel is as large as the image it sees."""
    options = schema.Conv2DOptionsT()
    options.padding = schema.Padding.VALID
    options.strideW = options.strideH = 1
    options.fusedActivationFunction = operator.builtinOptions.fusedActivationFunction
    operator.builtinOptions = options
    operator.builtinOptionsType = schema.BuiltinOptions.Conv2DOptions
    graph.set_kind(operator, Op.CONV_2D, version=3)
    before, after = int(operator.inputs[0]), int(operator.outputs[0])
    seen = _reshaped(graph, before, image)
    result = _reshaped(graph, after, (1, 1, int(graph.tensors[after].shape[-1])))
    _, kernel, bias = map(int, operator.inputs)
    if bias == -1:
        bias = _zero_bias(graph, before, kernel)
    operator.inputs = np.array([seen, kernel, bias], np.int32)
    operator.outputs = np.array([result], np.int32)
    place = graph.operators.index(operator)
    graph.operators[place : place + 1] = [
        _reshape(graph, before, seen),
        operator,
        _reshape(graph, result, after),
    ]


def _zero_bias(graph: Graph, inputs: int, kernel: int) -> int:
    """Adds the bias that an int8 CONV_2D has to have."""
    bias = graph.add_constant(np.zeros(graph.tensors[kernel].shape[0], np.int32))
    of_inputs, of_kernel = (graph.tensors[tensor].quantization for tensor in (inputs, kernel))
    info = schema.QuantizationParametersT()
    info.scale = (of_inputs.scale * of_kernel.scale).astype(np.float32)
    info.zeroPoint = np.zeros(len(info.scale), np.int64)
    graph.tensors[bias].quantization = info
    return bias


def _reshaped(graph: Graph, tensor: int, image: tuple[int, int, int]) -> int:
    """Adds a tensor [batch, height, width, channels] beside one of [batch, units]."""
    info = copy.copy(graph.tensors[tensor])
    info.shape = np.array([info.shape[0], *image], np.int32)
    info.shapeSignature = np.array([-1, *image], np.int32)
    return graph.add_tensor(info)


def _reshape(graph: Graph, before: int, after: int) -> schema.OperatorT:
    shape = np.array([-1, *graph.tensors[after].shape[1:]], np.int32)
    return graph.new_operator(Op.RESHAPE, 1, [before, graph.add_constant(shape)], [after])


def _join_reshapes(graph: Graph) -> None:
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
