"""Everything of TensorFlow that is used and not documented. Checked with TensorFlow 2.21.

A newer version that renames one of them needs a change in this file only.
"""

import contextlib
import sys
import types
from collections.abc import Iterable, Iterator
from typing import Any

import tensorflow as tf
from tensorflow.core.protobuf import config_pb2, rewriter_config_pb2
from tensorflow.lite.python import schema_py_generated as tflite_schema
from tensorflow.python.eager import context
from tensorflow.python.eager.polymorphic_function import polymorphic_function
from tensorflow.python.framework import op_def_registry, ops

__all__ = [
    "Function",
    "forget_traces",
    "is_captured",
    "op_definition",
    "in_fixed_order",
    "quantize_whole_tensors",
    "released_functions",
    "tflite_schema",
]

Function: Any = polymorphic_function.Function


def is_captured(variable: tf.Variable) -> bool:
    """Whether a graph may read a variable: whether anything but itself holds its handle."""
    alone = types.SimpleNamespace(handle=object())
    return sys.getrefcount(variable.handle) > sys.getrefcount(alone.handle)


def forget_traces(function: Any, handles: Iterable[int]) -> None:
    """Makes a `tf.function` be traced anew if it has captured one of some resource handles.

    Args:
        function: what `tf.function` returned.
        handles: `id` of the handles of variables.
    """
    traced = function._function_cache.values()
    if any(id(tensor) in handles for one in traced for tensor in one.captured_inputs):
        function._function_cache.clear()


@contextlib.contextmanager
def in_fixed_order() -> Iterator[None]:
    """Adds up gradients in one order in the functions that are called in the block.

    Where a graph is estimated to need most of the memory, TensorFlow's memory optimizer
    takes sums of three and more tensors apart and adds each as soon as it is there, which
    changes from run to run: the same seed then gives other bits. There is no public way to
    turn it off alone, and deterministic operations do not.
    """
    eager = context.context()
    before = eager.function_call_options
    config = config_pb2.ConfigProto.FromString(before.config_proto_serialized)
    rewriting = config.graph_options.rewrite_options
    rewriting.memory_optimization = rewriter_config_pb2.RewriterConfig.NO_MEM_OPT
    eager.function_call_options = context.FunctionCallOptions(before.executor_type, config)
    try:
        yield
    finally:
        eager.function_call_options = before


@contextlib.contextmanager
def released_functions() -> Iterator[None]:
    """Releases the functions that were traced in the block once nobody else has them.

    TensorFlow enters a gradient for every function it traces into a table that only
    grows, and with it all that the function has captured: data, weights and optimizer
    slots, about 80 MB for each training of Conv-2. There is no public way to leave the
    table; a version of TensorFlow that has another one keeps the memory.
    """
    table = getattr(ops.gradient_registry, "_registry", {})
    before = set(table)
    try:
        yield
    finally:
        for name in set(table) - before:
            del table[name]


def op_definition(name: str) -> Any:
    """Returns the OpDef of an operation, None if there is none of the name."""
    return op_def_registry.get(name)


def quantize_whole_tensors(converter: tf.lite.TFLiteConverter, whole: bool) -> None:
    """Tells a converter to quantize kernels with one scale each, not one a channel."""
    converter._experimental_disable_per_channel = whole
