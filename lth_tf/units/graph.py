"""The calls of a model, the units of each tensor, and which can only go together."""

import dataclasses
from collections import Counter
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.keras_internals import called_with, calls_in_order, graph_of, returned
from lth_tf.masking.layers import original_class
from lth_tf.units.attention import attention_rule
from lth_tf.units.rule import PINNED, Part, Rule
from lth_tf.units.rules import rule_of


class NoGraph(UsageError):
    """The layers of a model cannot be followed from input to output."""


@dataclasses.dataclass
class Call:
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


class Graph:
    """The calls of a model in the order they run, and the number of units of each tensor.

    Args:
        model: a Sequential or Functional model, masked or not.

    Attributes:
        model: as a Functional model.

    Raises:
        NoGraph: if it is another kind of model.
    """

    def __init__(self, model: keras.Model):
        self.model = model = functional(model)
        self.ends = (called_with(model), returned(model))
        nodes = [node for node in calls_in_order(model) if not node.is_input]
        uses = Counter(id(node.operation) for node in nodes)
        self.inputs = [id(tensor) for tensor in model.inputs]
        self.outputs = [id(tensor) for tensor in model.outputs]
        self.units = {id(tensor): _units(tensor) for tensor in model.inputs}
        self.calls = []
        for node in nodes:
            self.units.update({id(tensor): _units(tensor) for tensor in node.outputs})
            self.calls.append(
                Call(
                    node,
                    [id(tensor) for tensor in node.input_tensors],
                    [id(tensor) for tensor in node.outputs],
                    _rule(node, shared=uses[id(node.operation)] > 1),
                )
            )

    def drop_unused_calls(self) -> None:
        """Drops the calls whose results nothing reads any more."""
        needed, kept = set(self.outputs), []
        for call in reversed(self.calls):
            if needed & set(call.outputs):
                needed |= set(call.inputs)
                kept.append(call)
        self.calls = kept[::-1]

    def groups(self) -> dict[int, np.ndarray]:
        """Returns tensor -> group of each of its units.

        Units with the same number can only go together; those of PINNED not at all: inputs and
        outputs of the model, and what barriers read and return.
        """
        return self._grouped()[0]

    def parts(self) -> list[Part]:
        """Returns the weights that belong to units, with the numbers of `groups`."""
        groups, numbers = self._grouped()
        found = []
        for call in self.calls:
            if call.rule:
                found += [
                    Part(part.weight, numbers.roots(part.numbers), part.makes)
                    for part in call.rule.parts(groups[call.outputs[0]])
                ]
        return found

    def _grouped(self) -> tuple[dict[int, np.ndarray], "_Numbers"]:
        numbers = _Numbers()
        groups = {tensor: np.full(self.units[tensor], PINNED) for tensor in self.inputs}
        # What a unit is when all weights are masked that make it.
        masked = {tensor: np.full(n, np.nan) for tensor, n in self.units.items()}
        for call in self.calls:
            if call.rule is None:
                for tensor in call.outputs:
                    groups[tensor] = np.full(self.units[tensor], PINNED)
                # What a barrier reads has to keep its shape.
                for tensor in call.inputs:
                    numbers.pin(groups[tensor])
                continue
            before = [groups[tensor] for tensor in call.inputs]
            if call.rule.pins:
                for group in before:
                    numbers.pin(group)
            masked_before = [masked[tensor] for tensor in call.inputs]
            if call.rule.needs_zeros:
                numbers.pin(before[0][masked_before[0] != 0])
            masked[call.outputs[0]] = call.rule.masked(masked_before)
            for one, other in call.rule.joined(before):
                numbers.join(one, other)
            groups[call.outputs[0]] = call.rule.groups(before, numbers.fresh)
        for tensor in self.outputs:
            numbers.pin(groups[tensor])
        return {tensor: numbers.roots(group) for tensor, group in groups.items()}, numbers


class _Numbers:
    """Numbers of groups; groups that are joined get the same one."""

    def __init__(self) -> None:
        self._parent = [PINNED]

    def fresh(self, count: int) -> np.ndarray:
        """Returns numbers that were never used."""
        first = len(self._parent)
        self._parent.extend(range(first, first + count))
        return np.arange(first, first + count)

    def roots(self, numbers: np.ndarray) -> np.ndarray:
        """Returns the number that stands for each group."""
        found = [self._root(number) for number in numbers.ravel().tolist()]
        return np.array(found, np.int64).reshape(numbers.shape)

    def pin(self, numbers: np.ndarray) -> None:
        """Makes the groups stay."""
        for number in numbers.tolist():
            self._parent[self._root(number)] = PINNED

    def join(self, one: np.ndarray, other: np.ndarray) -> None:
        """Makes one group of each pair; the smallest number stands for it."""
        for a, b in zip(one.tolist(), other.tolist(), strict=True):
            a, b = self._root(a), self._root(b)
            self._parent[max(a, b)] = min(a, b)

    def _root(self, number: int) -> int:
        while (parent := self._parent[number]) != number:
            self._parent[number] = self._parent[parent]
            number = parent
        return number


def functional(model: keras.Model) -> keras.Model:
    """Returns the Functional model that a Sequential or Functional model runs.

    Raises:
        NoGraph: if it is another kind of model.
    """
    found = graph_of(model)
    if found is not None:
        # A subclass with a `call` of its own need not compute what its graph says.
        plain = type(keras.Model(model.inputs, model.outputs))
        plain = keras.Sequential if isinstance(model, keras.Sequential) else plain
        if original_class(model).call is plain.call:
            return found
    raise NoGraph(
        "Expected a Sequential or Functional model, whose layers can be followed from input to "
        f"output. Received: model={model.name!r} of class {type(model).__name__}."
    )


def _units(tensor: keras.KerasTensor) -> int:
    """The length of the last axis; 0 if there is none or it is unknown."""
    return (tensor.shape[-1] or 0) if len(tensor.shape) > 1 else 0


def _rule(node: Any, shared: bool) -> Rule | None:
    if shared and getattr(node.operation, "weights", []):
        return None
    if original_class(node.operation) is keras.layers.MultiHeadAttention:
        return attention_rule(node.operation, node.outputs)
    # `layer(tensor, training=True)` computes something else.
    values = node.arguments.kwargs.values()
    options = [value for value in values if value is not None and value is not False]
    if options or len(node.arguments.args) != 1 or len(node.outputs) != 1:
        return None
    found = rule_of(node.operation, node.input_tensors, node.outputs[0])
    return None if shared and found is not None and found.once else found
