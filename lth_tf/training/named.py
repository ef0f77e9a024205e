"""Trained variables under the names that hooks of methods know them by."""

from collections.abc import Mapping, Sequence

import keras
import tensorflow as tf

from lth_tf.masking.model import effective_states, slots_of, weight_variables
from lth_tf.training.optimizers import slots_by_variable

Gradients = Mapping[str, tf.Tensor]


class NamedVariables:
    """Names of a model's trained variables, their masks, and the optimizer's slots for them.

    A weight is known by its path, a variable of its rule by a name such as "fc1/kernel#score".

    Args:
        model: masked or not.
        optimizer: built on `variables`.
        variables: all that are trained, others than the model's included.

    Attributes:
        slots: path of a weight -> the optimizer's variables for it, e.g. its momentum.
    """

    def __init__(
        self,
        model: keras.Model,
        optimizer: keras.optimizers.Optimizer,
        variables: Sequence[keras.Variable],
    ):
        self._paths = {id(v): path for path, v in weight_variables(model).items()}
        self._names = self._paths | {
            id(v): f"{path}#{name}"
            for path, state in effective_states(model).items()
            for name, v in state.items()
        }
        self._masks = {path: slot.mask for path, slot in slots_of(model).items()}
        slots = slots_by_variable(optimizer, list(variables))
        self.slots = {self._paths[id(v)]: slots[id(v)] for v in variables if id(v) in self._paths}

    def name(self, variable: keras.Variable) -> str:
        """Returns a variable's name, "" if it is none of the model's or its rules'."""
        return self._names.get(id(variable), "")

    def is_weight(self, variable: keras.Variable) -> bool:
        """Returns whether a variable is a weight of the model, not a rule's."""
        return id(variable) in self._paths

    def masked(self, gradients: Gradients) -> dict[str, tf.Tensor]:
        """Returns name -> gradient, 0 where a weight is pruned."""
        return {name: self._masked(name, gradient) for name, gradient in gradients.items()}

    def _masked(self, name: str, gradient: tf.Tensor) -> tf.Tensor:
        if name not in self._masks:
            return gradient
        gradient = tf.convert_to_tensor(gradient)
        return gradient * tf.cast(self._masks[name].value, gradient.dtype)
