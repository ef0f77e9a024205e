"""Takes out of a SavedModel what its loaders can do without.

What goes: the functions that save and restore variables (there are none), shapes and
names recorded for debugging, attributes at their default values, the list of
operations, and long names of nodes and functions.
"""

import itertools
import pathlib
import string
from collections.abc import Iterable, Iterator
from typing import Any

from tensorflow.core.framework import attr_value_pb2, function_pb2, node_def_pb2
from tensorflow.core.protobuf import meta_graph_pb2, saved_model_pb2, saver_pb2

# Loaders want a file name and an operation for restoring variables.
_FILE_NAME, _RESTORE = "file_name", "restore"

# "_output_shapes" and their like help nobody who loads a file.
_KEPT_HIDDEN = ("_read_only_resource_inputs", "_construction_context", "_lower_using_switch_merge")

_Defaults = dict[str, dict[str, attr_value_pb2.AttrValue]]


def minify(path: pathlib.Path) -> None:
    """Makes a SavedModel without variables smaller, in place; it computes the same."""
    file = path / "saved_model.pb"
    saved = saved_model_pb2.SavedModel.FromString(file.read_bytes())
    (meta,) = saved.meta_graphs
    _replace_saver(meta)
    _drop_unused(meta)
    defaults = {
        op.name: {
            attr.name: attr.default_value for attr in op.attr if attr.HasField("default_value")
        }
        for op in meta.meta_info_def.stripped_op_list.op
    }
    for node in meta.graph_def.node:
        _strip_node(node, defaults)
    for function in meta.graph_def.library.function:
        _strip_function(function, defaults)
        # Ends of the others are known to the signatures.
        if function.signature.name not in meta.object_graph_def.concrete_functions:
            _rename_ends(function)
    _rename_functions(meta)
    meta.meta_info_def.ClearField("stripped_op_list")
    file.write_bytes(saved.SerializeToString(deterministic=True))
    # It belongs to the file that was there before, and is optional.
    (path / "fingerprint.pb").unlink(missing_ok=True)


def _replace_saver(meta: meta_graph_pb2.MetaGraphDef) -> None:
    """Puts an operation that does nothing in place of saving and restoring."""
    graph = meta.graph_def
    file_name = next(n for n in graph.node if n.name == _name(meta.saver_def.filename_tensor_name))
    file_name.name = _FILE_NAME
    graph.node.add(name=_RESTORE, op="NoOp")
    meta.saver_def.CopyFrom(
        saver_pb2.SaverDef(
            filename_tensor_name=f"{_FILE_NAME}:0",
            save_tensor_name=f"{_FILE_NAME}:0",
            restore_op_name=_RESTORE,
            version=saver_pb2.SaverDef.V2,
        )
    )


def _drop_unused(meta: meta_graph_pb2.MetaGraphDef) -> None:
    """Drops nodes that no signature needs, and functions that nothing calls."""
    graph = meta.graph_def
    nodes = {node.name: node for node in graph.node}
    tensors = [
        tensor.name
        for signature in meta.signature_def.values()
        for tensor in (*signature.inputs.values(), *signature.outputs.values())
    ]
    needed, kept = [_FILE_NAME, _RESTORE, *map(_name, tensors)], set()
    while needed:
        name = needed.pop()
        if name not in kept:
            kept.add(name)
            needed += map(_name, nodes[name].input)
    _keep(graph.node, [node for node in graph.node if node.name in kept])

    functions = {function.signature.name: function for function in graph.library.function}
    needed = [*meta.object_graph_def.concrete_functions, *_called(graph.node, functions)]
    called = set()
    while needed:
        name = needed.pop()
        if name not in called:
            called.add(name)
            needed += _called(functions[name].node_def, functions)
    _keep(graph.library.function, [functions[name] for name in functions if name in called])


def _strip_node(node: node_def_pb2.NodeDef, defaults: _Defaults) -> None:
    node.ClearField("experimental_debug_info")
    for name in list(node.attr):
        hidden = name.startswith("_") and name not in _KEPT_HIDDEN
        default = defaults.get(node.op, {}).get(name)
        if hidden or (default is not None and default == node.attr[name]):
            del node.attr[name]
    # A description of this process's devices, which a loader replaces.
    node.attr.pop("config_proto", None)


def _strip_function(function: function_pb2.FunctionDef, defaults: _Defaults) -> None:
    function.ClearField("arg_attr")
    for name in list(function.attr):
        if name not in _KEPT_HIDDEN:
            del function.attr[name]
    for node in function.node_def:
        _strip_node(node, defaults)
    _merge_constants(function)
    arguments = {argument.name for argument in function.signature.input_arg}
    names = (name for name in _short_names() if name not in arguments)
    renamed = {node.name: name for node, name in zip(function.node_def, names, strict=False)}
    for node in function.node_def:
        node.name = renamed[node.name]
        node.input[:] = [_with_new_node(entry, renamed) for entry in node.input]
    for returned in (function.ret, function.control_ret):
        for key in list(returned):
            returned[key] = _with_new_node(returned[key], renamed)


def _rename_ends(function: function_pb2.FunctionDef) -> None:
    """Gives arguments and results short names, without the numbers of the process."""
    inputs = {a.name: f"i{i}" for i, a in enumerate(function.signature.input_arg)}
    for argument in function.signature.input_arg:
        argument.name = inputs[argument.name]
    for node in function.node_def:
        node.input[:] = [_with_new_node(entry, inputs) for entry in node.input]
    results = []
    for i, output in enumerate(function.signature.output_arg):
        results.append((f"o{i}", _with_new_node(function.ret[output.name], inputs)))
        output.name = f"o{i}"
    function.ret.clear()
    for name, entry in results:
        function.ret[name] = entry


def _merge_constants(function: function_pb2.FunctionDef) -> None:
    """Keeps one of several constants of the same type and value."""
    first: dict[str, str] = {}
    renamed = {}
    for node in function.node_def:
        if node.op == "Const" and not node.input:
            attrs = {name: node.attr[name].SerializeToString() for name in sorted(node.attr)}
            renamed[node.name] = first.setdefault(repr(attrs), node.name)
    _keep(
        function.node_def, [n for n in function.node_def if renamed.get(n.name, n.name) == n.name]
    )
    for node in function.node_def:
        node.input[:] = [_with_new_node(entry, renamed) for entry in node.input]


def _rename_functions(meta: meta_graph_pb2.MetaGraphDef) -> None:
    """Gives functions short names without the numbers of the process that made them."""
    graph, objects = meta.graph_def, meta.object_graph_def
    functions = sorted(graph.library.function, key=_creation_order)
    _keep(graph.library.function, functions)
    renamed = {
        function.signature.name: f"f{i}" for i, function in enumerate(graph.library.function)
    }
    for function in graph.library.function:
        function.signature.name = renamed[function.signature.name]
    bodies = [graph.node, *(function.node_def for function in graph.library.function)]
    for node in itertools.chain(*bodies):
        for attr in node.attr.values():
            for func in (attr.func, *attr.list.func) if _holds_function(attr) else ():
                func.name = renamed.get(func.name, func.name)
    for old, new in renamed.items():
        if old in objects.concrete_functions:
            objects.concrete_functions[new].CopyFrom(objects.concrete_functions[old])
            del objects.concrete_functions[old]
    for item in objects.nodes:
        if item.HasField("function"):
            names = item.function.concrete_functions
            names[:] = [renamed[name] for name in names]
        if item.HasField("bare_concrete_function"):
            bare = item.bare_concrete_function
            bare.concrete_function_name = renamed[bare.concrete_function_name]


def _creation_order(function: function_pb2.FunctionDef) -> tuple[int, str]:
    """TensorFlow numbers functions as it makes them and writes them in the order of a hash."""
    number = function.signature.name.rpartition("_")[2]
    return (int(number) if number.isdigit() else 0, function.signature.name)


def _called(nodes: Iterable[Any], functions: dict[str, Any]) -> list[str]:
    """Returns the functions that nodes call."""
    return [
        func.name
        for node in nodes
        for attr in node.attr.values()
        if _holds_function(attr)
        for func in (attr.func, *attr.list.func)
        if func.name in functions
    ]


def _holds_function(attr: attr_value_pb2.AttrValue) -> bool:
    return attr.WhichOneof("value") == "func" or bool(attr.list.func)


def _short_names() -> Iterator[str]:
    """Yields a, b, ..., z, aa, ab, ..."""
    for length in itertools.count(1):
        for letters in itertools.product(string.ascii_lowercase, repeat=length):
            yield "".join(letters)


def _with_new_node(entry: str, renamed: dict[str, str]) -> str:
    """Renames the node in "node:output:0", "^node" or "node"; arguments stay."""
    control = "^" if entry.startswith("^") else ""
    node, *rest = entry.removeprefix("^").split(":")
    return control + ":".join([renamed.get(node, node), *rest])


def _name(tensor: str) -> str:
    return tensor.removeprefix("^").split(":")[0]


def _keep(repeated: Any, items: list[Any]) -> None:
    copies = [type(item).FromString(item.SerializeToString()) for item in items]
    del repeated[:]
    repeated.extend(copies)
