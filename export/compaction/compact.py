"""Exact removal of units that cannot matter: the model gets smaller, its output stays.

A unit that nothing live reads goes. A unit that has the same value for every
input goes too, and the biases behind it take over what it added. Both repeat
until nothing is left to remove. Two limits keep it exact:

* Zeros come in at the borders of a SAME-padded convolution, so a constant channel
  adds less there than elsewhere: such a channel stays, unless it is 0.
* Behind an `Add` a channel goes only if it can go in every branch.

The inputs of the model stay as they are. Layers without a rule in
`lth_tf.units.rules` are barriers: nothing is removed across them.
"""

import dataclasses
import inspect
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.keras_internals import all_layers
from lth_tf.masking.model import get_masks
from lth_tf.units.graph import Call, Graph
from lth_tf.units.merging import Add
from lth_tf.units.rule import PINNED, Rule


def compact(model: keras.Model) -> keras.Model:
    """Returns a smaller model that computes the same, up to rounding.

    Args:
        model: a built Sequential or Functional model without masks, with zeros in
            its kernels; see `export.strip`. It is left alone.

    Returns:
        A new plain model, Sequential if `model` is, with the names of its layers.

    Raises:
        UsageError: if the model is masked, not built, neither Sequential nor
            Functional, or dead: its output is the same for every input.

    Example::

        small = export.compact(export.strip(model))
    """
    graph = Graph(_checked(model))
    for call in graph.calls:
        if call.rule:
            call.rule.load()
    size = None
    while size != (size := _size(graph)):
        facts = _examine(graph)
        _shrink(graph, facts)
    return _rebuild(graph, model)


@dataclasses.dataclass
class _Facts:
    """What is known about the units of each tensor; see `lth_tf.units.rule`."""

    constants: dict[int, np.ndarray]
    live: dict[int, np.ndarray]
    kept: dict[int, np.ndarray]


def _checked(model: keras.Model) -> keras.Model:
    if not model.built:
        raise UsageError(
            f"Expected a built model. Received: model={model.name!r}, which has no weights yet. "
            "Call it on a batch first."
        )
    if get_masks(model):
        raise UsageError(
            f"Expected a model without masks. Received: model={model.name!r}, which is masked. "
            "Use export.strip(model) first."
        )
    return model


def _size(graph: Graph) -> tuple[int, int]:
    """Returns the number of weights that are not 0, and of units."""
    weights = [w for call in graph.calls if call.rule for w in call.rule.weights()]
    return sum(map(np.count_nonzero, weights)), sum(graph.units.values())


def _examine(graph: Graph) -> _Facts:
    constants = {tensor: np.full(graph.units[tensor], np.nan) for tensor in graph.inputs}
    for call in graph.calls:
        for tensor in call.outputs:
            constants[tensor] = np.full(graph.units[tensor], np.nan)
        if call.rule:
            before = [constants[tensor] for tensor in call.inputs]
            constants[call.outputs[0]] = call.rule.constants(before)
    live = _live(graph, constants)
    _refuse_dead(graph, constants, live)
    graph.drop_unused_calls()
    return _Facts(constants, live, _kept(graph, live))


def _live(graph: Graph, constants: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    live = {tensor: np.zeros(units, bool) for tensor, units in graph.units.items()}
    for tensor in graph.outputs:
        live[tensor][:] = True
    for call in reversed(graph.calls):
        if call.rule is None:
            found = [np.ones(graph.units[tensor], bool) for tensor in call.inputs]
        else:
            (output,) = call.outputs
            if call.rule.mixes:
                live[output][:] = True
            if isinstance(call.rule, Add):
                _take_out_constant_branches(call, call.rule, live[output], constants)
            before = [constants[tensor] for tensor in call.inputs]
            found = call.rule.live(live[output], before)
        for tensor, units in zip(call.inputs, found, strict=True):
            live[tensor] |= units
    return live


def _take_out_constant_branches(
    call: Call, rule: Add, live: np.ndarray, constants: dict[int, np.ndarray]
) -> None:
    before = [constants[tensor] for tensor in call.inputs]
    for place in reversed(rule.constant_branches(live, before)):
        rule.take_out(place, live, before[place])
        del call.inputs[place]


def _refuse_dead(
    graph: Graph, constants: dict[int, np.ndarray], live: dict[int, np.ndarray]
) -> None:
    if any(live[tensor].any() or not graph.units[tensor] for tensor in graph.inputs):
        return
    dead = [
        call.node.operation.name
        for call in graph.calls
        if len(constants[call.outputs[0]]) and not np.isnan(constants[call.outputs[0]]).any()
    ]
    where = f"layer {dead[0]!r} has no unit left that does" if dead else "no path through it does"
    raise UsageError(
        f"Expected a model whose output depends on its input. Received: one in which {where}. "
        "Choose a ticket of a lower level."
    )


def _kept(graph: Graph, live: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Which units of each tensor stay: those whose group is live somewhere."""
    groups = graph.groups()
    roots = np.zeros(1 + max(int(g.max(initial=0)) for g in groups.values()), bool)
    roots[PINNED] = True
    for tensor, group in groups.items():
        roots[group[live[tensor]]] = True
    for group in groups.values():
        # A layer without units does not exist in Keras; one of zeros takes its place.
        if len(group) and not roots[group].any():
            roots[group[0]] = True
    return {tensor: roots[group] for tensor, group in groups.items()}


def _shrink(graph: Graph, facts: _Facts) -> None:
    for call in graph.calls:
        if call.rule:
            (output,) = call.outputs
            call.rule.shrink(
                [facts.constants[tensor] for tensor in call.inputs],
                facts.live[output],
                [facts.kept[tensor] for tensor in call.inputs],
                facts.kept[output],
            )
    graph.units = {tensor: int(kept.sum()) for tensor, kept in facts.kept.items()}


def _rebuild(graph: Graph, model: keras.Model) -> keras.Model:
    tensors = {id(tensor): _input_like(tensor) for tensor in model.inputs}
    new: dict[int, keras.Operation] = {}
    for call in graph.calls:
        old = call.node.operation
        if id(old) not in new:
            new[id(old)] = _new_layer(old, call.rule)
        results = keras.tree.flatten(_call_again(new[id(old)], call, tensors))
        tensors.update(zip(call.outputs, results, strict=True))
        weights = call.rule.weights() if call.rule else getattr(old, "weights", [])
        if weights:
            new[id(old)].set_weights([keras.ops.convert_to_numpy(weight) for weight in weights])
        for layer in _with_inner(new[id(old)]):
            # It computes with a copy of its weights. Other layers with this method compute with
            # what is in their config, and would forget it.
            if isinstance(layer, keras.layers.Normalization):
                layer.finalize_state()
    ins, outs = keras.tree.map_structure(lambda t: tensors[id(t)], graph.ends)
    if isinstance(model, keras.Sequential):
        ordered = [new[id(layer)] for layer in model.layers]
        return keras.Sequential([_input_like(model.inputs[0]), *ordered], name=model.name)
    return keras.Model(ins, outs, name=model.name)


def _input_like(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _new_layer(layer: keras.Operation, rule: Rule | None) -> keras.Operation:
    if rule:
        config = rule.config()
        for name in config:
            # A function of the user's own cannot be made from a config.
            if inspect.isfunction(value := getattr(layer, name, None)):
                config[name] = value
        return type(layer).from_config(config)
    if any(hasattr(inner, "save_assets") for inner in _with_inner(layer)):
        return layer  # a vocabulary, which is not in the config: nothing changes in it
    try:
        if isinstance(layer, keras.Model):
            return keras.models.clone_model(layer)
        return type(layer).from_config(layer.get_config())
    except (TypeError, ValueError, NotImplementedError):
        return layer  # a Lambda, or a class that cannot be made again: nothing changes in it


def _with_inner(layer: keras.Operation) -> list[keras.layers.Layer]:
    return all_layers(layer) if isinstance(layer, keras.layers.Layer) else []


def _call_again(layer: keras.Operation, call: Call, tensors: dict[int, Any]) -> Any:
    if isinstance(call.rule, Add):
        return _add(layer, [tensors[tensor] for tensor in call.inputs], call.rule.shift)
    if call.rule and not call.rule.pins:
        inputs = [tensors[tensor] for tensor in call.inputs]
        return layer(inputs if len(inputs) > 1 else inputs[0])
    args, kwargs = call.node.arguments.fill_in(tensors)
    return layer(*args, **kwargs)


def _add(
    layer: keras.layers.Add, branches: list[keras.KerasTensor], shift: np.ndarray
) -> keras.KerasTensor:
    total = layer(branches) if len(branches) > 1 else branches[0]
    if not shift.any():
        return total
    # Normalization by mean -shift and variance 1 is the one plain layer that adds a vector.
    adder = keras.layers.BatchNormalization(
        epsilon=0.0, center=False, scale=False, dtype=layer.dtype_policy, name=f"{layer.name}_shift"
    )
    total = adder(total)
    adder.set_weights([-shift, np.ones_like(shift)])
    return total
