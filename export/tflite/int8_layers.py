"""What int8 kernels need to be sparse: dense layers become convolutions, tables store 0 as 0."""

import copy

import numpy as np

from lth_tf.tensorflow_internals import tflite_schema as schema

from .csr import smallest
from .flatbuffer import Graph, Op


def as_convolutions(graph: Graph, kernel: int, users: list[schema.OperatorT]) -> bool:
    """Makes int8 FULLY_CONNECTED operators CONV_2D ones; False if one cannot be."""
    kinds = {graph.kind(user) for user in users}
    if kinds == {Op.CONV_2D}:
        return True
    if kinds != {Op.FULLY_CONNECTED} or not all(_is_plain(graph, user) for user in users):
        return False
    image = _as_image(graph.known_constant(kernel))
    graph.tensors[kernel].shape = np.array(image.shape, np.int32)
    for user in users:
        _as_convolution(graph, user, image.shape[1:])
    return True


def centred(graph: Graph, table: int) -> np.ndarray:
    """Returns an int8 table in steps from its zero point, int32."""
    return graph.known_constant(table).astype(np.int32) - _zero_point(graph, table)


def _zero_point(graph: Graph, tensor: int) -> int:
    info = graph.tensors[tensor].quantization
    return 0 if info is None or info.zeroPoint is None else int(info.zeroPoint[0])


def store_zeros_as_zero(graph: Graph, table: int, users: list[schema.OperatorT]) -> None:
    """Moves the zero point of a table that GATHER operators read to 0.

    The converter chooses it as that of an activation, so that pruned weights are stored as some
    other number. What is read is quantized as before, in an operator of its own.
    """
    steps, before = centred(graph, table), graph.tensors[table].quantization
    if not _zero_point(graph, table):
        return
    # The farthest step may not fit: steps grow a little, and weights move by half of one at most.
    growth = max(127, int(np.abs(steps).max())) / 127
    graph.set_constant(table, np.rint(steps / growth).astype(np.int8))
    info = schema.QuantizationParametersT()
    info.scale = (np.asarray(before.scale) * growth).astype(np.float32)
    info.zeroPoint = np.zeros(1, np.int64)
    graph.tensors[table].quantization = info
    for user in users:
        (result,) = map(int, user.outputs)
        read = copy.copy(graph.tensors[result])
        read.quantization = info
        place = graph.add_tensor(read)
        user.outputs = np.array([place], np.int32)
        quantize = graph.new_operator(Op.QUANTIZE, 1, [place], [result])
        graph.operators.insert(graph.operators.index(user) + 1, quantize)


def _is_plain(graph: Graph, operator: schema.OperatorT) -> bool:
    """Whether it multiplies vectors along the last axis, and only the batch size is free."""
    before, after = (graph.tensors[int(t)] for t in (operator.inputs[0], operator.outputs[0]))
    units, inputs = graph.tensors[int(operator.inputs[1])].shape
    signature = after.shape if after.shapeSignature is None else after.shapeSignature
    return before.shape[-1] == inputs and after.shape[-1] == units and -1 not in signature[1:]


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
    info.shape = np.array([np.prod(info.shape[:-1]), *image], np.int32)
    info.shapeSignature = np.array([-1, *image], np.int32)
    return graph.add_tensor(info)


def _reshape(graph: Graph, before: int, after: int) -> schema.OperatorT:
    shape = np.array([-1, *graph.tensors[after].shape[1:]], np.int32)
    return graph.new_operator(Op.RESHAPE, 1, [before, graph.add_constant(shape)], [after])
