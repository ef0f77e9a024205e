"""Exact removal of units that cannot matter: the model gets smaller, its output stays.

A unit that nothing live reads goes. A unit that has the same value for every
input goes too, and the biases behind it take over what it added. Both repeat
until nothing is left to remove. Two limits keep it exact:

* Zeros come in at the borders of a SAME-padded convolution, so a constant channel
  adds less there than elsewhere: such a channel stays, unless it is 0.
* Behind an `Add` a channel goes only if it can go in every branch.

The inputs of the model stay as they are. Layers without a rule in
`export.compaction.unit_rules` are barriers: nothing is removed across them.
"""

import dataclasses
from collections import Counter
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.keras_internals import called_with, calls_in_order, has_graph, returned
from lth_tf.masking.model import get_masks

from .unit_rules import PINNED, Add, Rule, rule_of


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
    graph = _Graph(_as_functional(model))
    size = None
    while size != (size := graph.size()):
        facts = _examine(graph)
        _shrink(graph, facts)
    return _rebuild(graph, model)


class NotCompactable(UsageError):
    """The layers of a model cannot be followed from input to output."""


@dataclasses.dataclass
class _Call:
    """One call of a layer.

    Attributes:
        node: Keras's record of the call.
        inputs: the tensors it reads, as numbers.
        outputs: the tensors it returns, as numbers.
        rule: how units pass through it; None for a barrier.
    """

    node: Any
    inputs: list[int]
    outputs: list[int]
    rule: Rule | None


class _Graph:
    """The calls of a model in the order they run, and the number of units of each tensor."""

    def __init__(self, model: keras.Model):
        self.ends = (called_with(model), returned(model))
        nodes = [node for node in calls_in_order(model) if not node.is_input]
        uses = Counter(id(node.operation) for node in nodes)
        self.inputs = [id(tensor) for tensor in model.inputs]
        self.outputs = [id(tensor) for tensor in model.outputs]
        self.units = {id(tensor): _units(tensor) for tensor in model.inputs}
        self.calls = []
        for node in nodes:
            self.units.update({id(tensor): _units(tensor) for tensor in node.outputs})
            shared = uses[id(node.operation)] > 1 and _weights(node.operation)
            self.calls.append(
                _Call(
                    node,
                    [id(tensor) for tensor in node.input_tensors],
                    [id(tensor) for tensor in node.outputs],
                    None if shared else _rule(node),
                )
            )

    def size(self) -> tuple[int, int]:
        """Returns the number of weights that are not 0, and of units."""
        weights = [w for call in self.calls if call.rule for w in call.rule.weights()]
        return sum(map(np.count_nonzero, weights)), sum(self.units.values())

    def drop_unused_calls(self) -> None:
        """Drops the calls whose results nothing reads any more."""
        needed, kept = set(self.outputs), []
        for call in reversed(self.calls):
            if needed & set(call.outputs):
                needed |= set(call.inputs)
                kept.append(call)
        self.calls = kept[::-1]


@dataclasses.dataclass
class _Facts:
    """What is known about the units of each tensor; see `export.compaction.unit_rules`."""

    constants: dict[int, np.ndarray]
    live: dict[int, np.ndarray]
    kept: dict[int, np.ndarray]


def _as_functional(model: keras.Model) -> keras.Model:
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
    sequential = isinstance(model, keras.Sequential)
    if sequential or has_graph(model):
        functional = keras.Model(model.inputs, model.outputs)
        # A subclass with a `call` of its own need not compute what its graph says.
        plain = keras.Sequential if sequential else type(functional)
        if type(model).call is plain.call:
            return functional if sequential else model
    raise NotCompactable(
        "Expected a Sequential or Functional model, whose layers can be followed from input to "
        f"output. Received: model={model.name!r} of class {type(model).__name__}."
    )


def _units(tensor: keras.KerasTensor) -> int:
    """The length of the last axis; 0 if there is none or it is unknown."""
    return (tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0


def _weights(layer: keras.Operation) -> list[keras.Variable]:
    return getattr(layer, "weights", [])


def _rule(node: Any) -> Rule | None:
    # `layer(tensor, training=True)` computes something else.
    options = [value for value in node.arguments.kwargs.values() if value not in (None, False)]
    if options or len(node.arguments.args) != 1 or len(node.outputs) != 1:
        return None
    return rule_of(node.operation, node.input_tensors, node.outputs[0])


def _examine(graph: _Graph) -> _Facts:
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


def _live(graph: _Graph, constants: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
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
    call: _Call, rule: Add, live: np.ndarray, constants: dict[int, np.ndarray]
) -> None:
    before = [constants[tensor] for tensor in call.inputs]
    for place in reversed(rule.constant_branches(live, before)):
        rule.take_out(place, live, before[place])
        del call.inputs[place]


def _refuse_dead(
    graph: _Graph, constants: dict[int, np.ndarray], live: dict[int, np.ndarray]
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


def _kept(graph: _Graph, live: dict[int, np.ndarray]) -> dict[int, np.ndarray]:
    """Which units of each tensor stay: those whose group is live somewhere."""
    groups = _groups(graph)
    roots = np.zeros(1 + max(int(g.max(initial=0)) for g in groups.values()), bool)
    roots[PINNED] = True
    for tensor, group in groups.items():
        roots[group[live[tensor]]] = True
    for group in groups.values():
        # A layer without units does not exist in Keras; one of zeros takes its place.
        if len(group) and not roots[group].any():
            roots[group[0]] = True
    return {tensor: roots[group] for tensor, group in groups.items()}


def _groups(graph: _Graph) -> dict[int, np.ndarray]:
    numbers = _Numbers()
    groups = {tensor: np.full(graph.units[tensor], PINNED) for tensor in graph.inputs}
    for call in graph.calls:
        if call.rule is None:
            for tensor in call.outputs:
                groups[tensor] = np.full(graph.units[tensor], PINNED)
            # What a barrier reads has to keep its shape.
            for tensor in call.inputs:
                numbers.pin(groups[tensor])
            continue
        before = [groups[tensor] for tensor in call.inputs]
        for other in before[1:]:
            if isinstance(call.rule, Add):
                numbers.join(before[0], other)
        groups[call.outputs[0]] = call.rule.groups(before, numbers.fresh)
    for tensor in graph.outputs:
        numbers.pin(groups[tensor])
    return {tensor: numbers.roots(group) for tensor, group in groups.items()}


class _Numbers:
    """Numbers of groups; groups that are joined get the same one."""

    def __init__(self) -> None:
        self._parent = np.array([PINNED])

    def fresh(self, count: int) -> np.ndarray:
        """Returns numbers that were never used."""
        first = len(self._parent)
        numbers = np.arange(first, first + count)
        self._parent = np.concatenate([self._parent, numbers])
        return numbers

    def roots(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the number that stands for each group."""
        while not np.array_equal(numbers, parents := self._parent[numbers]):
            numbers = parents
        return numbers

    def pin(self, numbers: np.ndarray) -> None:
        """Makes the groups stay."""
        self._parent[self.roots(numbers)] = PINNED

    def join(self, one: np.ndarray, other: np.ndarray) -> None:
        """Makes one group of each pair; the smallest number stands for it."""
        for a, b in zip(one, other, strict=True):
            a, b = self.roots(np.array([a, b]))
            self._parent[max(a, b)] = min(a, b)


def _shrink(graph: _Graph, facts: _Facts) -> None:
    for call in graph.calls:
        if call.rule:
            (output,) = call.outputs
            call.rule.shrink(
                [facts.constants[tensor] for tensor in call.inputs],
                facts.live[output],
                facts.kept[call.inputs[0]],
                facts.kept[output],
            )
    graph.units = {tensor: int(kept.sum()) for tensor, kept in facts.kept.items()}


def _rebuild(graph: _Graph, model: keras.Model) -> keras.Model:
    tensors = {id(tensor): _input_like(tensor) for tensor in model.inputs}
    new: dict[int, keras.Operation] = {}
    for call in graph.calls:
        old = call.node.operation
        if id(old) not in new:
            new[id(old)] = _new_layer(old, call.rule)
        results = keras.tree.flatten(_call_again(new[id(old)], call, tensors))
        tensors.update(zip(call.outputs, results, strict=True))
        weights = call.rule.weights() if call.rule else _weights(old)
        if weights:
            new[id(old)].set_weights([keras.ops.convert_to_numpy(weight) for weight in weights])
        if hasattr(old, "finalize_state"):
            new[id(old)].finalize_state()  # Normalization computes with a copy of its weights
    ins, outs = keras.tree.map_structure(lambda t: tensors[id(t)], graph.ends)
    if isinstance(model, keras.Sequential):
        ordered = [new[id(layer)] for layer in model.layers]
        return keras.Sequential([_input_like(model.inputs[0]), *ordered], name=model.name)
    return keras.Model(ins, outs, name=model.name)


def _input_like(tensor: keras.KerasTensor) -> keras.KerasTensor:
    return keras.Input(batch_shape=tensor.shape, dtype=tensor.dtype, name=tensor.name)


def _new_layer(layer: keras.Operation, rule: Rule | None) -> keras.Operation:
    if rule:
        return type(layer).from_config(rule.config())
    try:
        if isinstance(layer, keras.Model):
            return keras.models.clone_model(layer)
        return type(layer).from_config(layer.get_config())
    except (TypeError, ValueError, NotImplementedError):
        return layer  # a Lambda, or a class that cannot be made again: nothing changes in it


def _call_again(layer: keras.Operation, call: _Call, tensors: dict[int, Any]) -> Any:
    if isinstance(call.rule, Add):
        return _add(layer, [tensors[tensor] for tensor in call.inputs], call.rule.shift)
    if call.rule:
        return layer(tensors[call.inputs[0]])
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
