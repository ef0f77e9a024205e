"""TFLite files as objects: read, looked into, and written with as few bytes as they need."""

from collections.abc import Callable, Iterator
from typing import Any

import flatbuffers
import numpy as np

from lth_tf.tensorflow_internals import tflite_schema as schema

Op = schema.BuiltinOperator
TensorType = schema.TensorType

_DTYPES = {
    TensorType.FLOAT32: np.float32,
    TensorType.FLOAT16: np.float16,
    TensorType.INT8: np.int8,
    TensorType.INT32: np.int32,
}


class File:
    """A TFLite file, to be read and changed.

    Args:
        content: a .tflite file.

    Attributes:
        model: the file as the objects of TFLite's schema.
        graphs: the main graph, then those of loops, branches and other signatures.
    """

    def __init__(self, content: bytes):
        self.model = schema.ModelT.InitFromPackedBuf(bytearray(content))
        self.graphs = [Graph(self.model, place) for place in range(len(self.model.subgraphs))]

    def to_bytes(self) -> bytes:
        """Returns the file, without anything that running it does not need."""
        for graph in self.graphs:
            graph.drop_unused_operators()
            graph.drop_unused_tensors()
        self._drop_unused_codes()
        self._drop_unused_buffers()
        self.model.description = None
        self.model.metadata = self.model.metadataBuffer = None
        builder = _SharingBuilder(1024)
        builder.Finish(self.model.Pack(builder), b"TFL3")
        return bytes(builder.Output())

    def _drop_unused_codes(self) -> None:
        operators = [operator for graph in self.graphs for operator in graph.operators]
        used = sorted({operator.opcodeIndex for operator in operators})
        self.model.operatorCodes = [self.model.operatorCodes[place] for place in used]
        for operator in operators:
            operator.opcodeIndex = used.index(operator.opcodeIndex)

    def _drop_unused_buffers(self) -> None:
        """Keeps one buffer for equal constants; buffer 0 is the empty one."""
        places, kept = {b"": 0}, [schema.BufferT()]
        for tensor in (tensor for graph in self.graphs for tensor in graph.tensors):
            data = self.model.buffers[tensor.buffer].data
            content = b"" if data is None else np.asarray(data, np.uint8).tobytes()
            if content not in places:
                places[content] = len(kept)
                kept.append(self.model.buffers[tensor.buffer])
            tensor.buffer = places[content]
        self.model.buffers = kept


class Graph:
    """A graph of a TFLite file, to be read and changed.

    Args:
        model: the file as the objects of TFLite's schema.
        place: which of its graphs.

    Attributes:
        tensors: those of the graph; an operator refers to them by their place.
        operators: those of the graph, in the order they run.
    """

    def __init__(self, model: schema.ModelT, place: int = 0):
        self.model = model
        self._place = place
        self._graph = model.subgraphs[place]
        self._kept: set[int] = set()

    @property
    def tensors(self) -> list[schema.TensorT]:
        """The tensors."""
        return self._graph.tensors

    @property
    def operators(self) -> list[schema.OperatorT]:
        """The operators."""
        return self._graph.operators

    @operators.setter
    def operators(self, operators: list[schema.OperatorT]) -> None:
        self._graph.operators = operators

    @property
    def outputs(self) -> set[int]:
        """The tensors that the graph returns."""
        return set(map(int, self._graph.outputs))

    def kind(self, operator: schema.OperatorT) -> int:
        """Returns which built-in operator it is."""
        return self.model.operatorCodes[operator.opcodeIndex].builtinCode

    def operators_of(self, *kinds: int) -> Iterator[schema.OperatorT]:
        """Goes over the operators of some kinds."""
        return (operator for operator in self.operators if self.kind(operator) in kinds)

    def producers(self) -> dict[int, schema.OperatorT]:
        """Returns tensor -> the operator that computes it."""
        return {int(tensor): op for op in self.operators for tensor in op.outputs}

    def consumers(self, tensor: int) -> list[schema.OperatorT]:
        """Returns the operators that read a tensor."""
        return [op for op in self.operators if tensor in op.inputs]

    def constant(self, tensor: int) -> np.ndarray | None:
        """Returns a tensor's value; None if it is not a constant of a known type."""
        info = self.tensors[tensor]
        data = self.model.buffers[info.buffer].data
        if data is None or info.type not in _DTYPES or info.sparsity is not None:
            return None
        shape = () if info.shape is None else tuple(info.shape)
        return np.asarray(data, np.uint8).view(_DTYPES[info.type]).reshape(shape)

    def known_constant(self, tensor: int) -> np.ndarray:
        """Returns the value of a tensor that is known to be a constant.

        Raises:
            ValueError: if it is none of a known type.
        """
        value = self.constant(tensor)
        if value is None:
            raise ValueError(f"Expected a constant of a known type. Received: tensor={tensor}.")
        return value

    def set_constant(self, tensor: int, value: np.ndarray) -> None:
        """Gives a tensor a value, and its type and shape."""
        info = self.tensors[tensor]
        info.type = next(t for t, dtype in _DTYPES.items() if dtype == value.dtype)
        info.shape = np.array(value.shape, np.int32)
        self.set_data(tensor, value)

    def set_data(self, tensor: int, data: np.ndarray | None) -> None:
        """Gives a tensor bytes of its own; None makes it a computed one."""
        buffer = schema.BufferT()
        if data is not None:
            buffer.data = np.frombuffer(np.ascontiguousarray(data).tobytes(), np.uint8)
        self.tensors[tensor].buffer = len(self.model.buffers)
        self.model.buffers.append(buffer)

    def add_tensor(self, tensor: schema.TensorT) -> int:
        """Adds a tensor and returns its place."""
        self.tensors.append(tensor)
        return len(self.tensors) - 1

    def add_constant(self, value: np.ndarray) -> int:
        """Adds a constant and returns its place."""
        place = self.add_tensor(schema.TensorT())
        self.set_constant(place, value)
        return place

    def set_kind(self, operator: schema.OperatorT, kind: int, version: int) -> None:
        """Makes an operator one of another kind or version."""
        codes = self.model.operatorCodes
        for place, code in enumerate(codes):
            if (code.builtinCode, code.version) == (kind, version):
                operator.opcodeIndex = place
                return
        # Below 127 the code is stored twice, for readers of older files.
        codes.append(schema.OperatorCodeT(min(kind, 127), None, version, kind))
        operator.opcodeIndex = len(codes) - 1

    def new_operator(
        self, kind: int, version: int, inputs: list[int], outputs: list[int]
    ) -> schema.OperatorT:
        """Returns an operator that is not in the graph yet."""
        operator = schema.OperatorT()
        operator.inputs = np.array(inputs, np.int32)
        operator.outputs = np.array(outputs, np.int32)
        self.set_kind(operator, kind, version)
        return operator

    def keep(self, tensor: int) -> None:
        """Keeps the operator that computes a tensor, though nothing reads it."""
        self._kept.add(tensor)

    def drop_unused_operators(self) -> None:
        """Drops the operators whose results nothing reads."""
        needed, kept = self.outputs | self._kept, []
        for operator in reversed(self.operators):
            # Without results an operator is there for what it does, e.g. filling a table.
            if not len(operator.outputs) or needed & set(map(int, operator.outputs)):
                needed |= set(map(int, operator.inputs))
                kept.append(operator)
        self.operators = kept[::-1]

    def drop_unused_tensors(self) -> None:
        """Drops tensors that no operator has, and all names but those of the ends."""
        graph = self._graph
        graph.name = None
        ends = {int(tensor) for tensor in (*graph.inputs, *graph.outputs)}
        used = {int(t) for op in self.operators for t in (*op.inputs, *op.outputs)} | ends
        kept = sorted(used - {-1})
        place = {old: new for new, old in enumerate(kept)} | {-1: -1}

        def moved(tensors: np.ndarray) -> np.ndarray:
            return np.array([place[int(tensor)] for tensor in tensors], np.int32)

        for operator in self.operators:
            operator.inputs, operator.outputs = moved(operator.inputs), moved(operator.outputs)
            operator.intermediates = operator.mutatingVariableInputs = None
        for signature in self.model.signatureDefs or []:
            if signature.subgraphIndex == self._place:
                for end in (*signature.inputs, *signature.outputs):
                    end.tensorIndex = place[end.tensorIndex]
        for old in kept:
            _shorten(self.tensors[old], keep_name=old in ends)
        graph.tensors = [self.tensors[old] for old in kept]
        graph.inputs, graph.outputs = moved(graph.inputs), moved(graph.outputs)


def _shorten(tensor: schema.TensorT, keep_name: bool) -> None:
    if not keep_name:
        tensor.name = None
    if tensor.quantization is not None and tensor.quantization.scale is None:
        tensor.quantization = None
    if tensor.shapeSignature is not None and np.array_equal(tensor.shapeSignature, tensor.shape):
        tensor.shapeSignature = None


class _SharingBuilder(flatbuffers.Builder):
    """Writes equal vectors and strings once; every table may point to the same one."""

    def __init__(self, size: int):
        super().__init__(size)
        self._written: dict[tuple, int] = {}

    def CreateNumpyVector(self, x: np.ndarray) -> int:  # noqa: N802
        """Writes a vector of numbers."""
        return self._once((x.dtype.str, x.tobytes()), super().CreateNumpyVector, x)

    def CreateString(self, s: str | bytes, *args: Any, **kwargs: Any) -> int:  # noqa: N802
        """Writes a string."""
        return self._once(("", s), super().CreateString, s, *args, **kwargs)

    def _once(self, key: tuple, write: Callable[..., int], *args: Any, **kwargs: Any) -> int:
        if key not in self._written:
            self._written[key] = write(*args, **kwargs)
        return self._written[key]
