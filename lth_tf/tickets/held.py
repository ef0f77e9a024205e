"""The values of variables at one moment, kept where they are: on the device."""

from typing import Any

import keras
import numpy as np

from lth_tf.masking.variables import store, to_numpy


class Held:
    """One variable's value at one moment.

    TensorFlow copies it only when the variable changes, other backends at once: JAX gives
    the buffers of variables away to its training step. numpy gets a copy on the host.
    """

    def __init__(self, variable: keras.Variable):
        value = variable.value
        self._shared = hasattr(value, "read_value")
        self.value = value.read_value() if self._shared else keras.ops.copy(value)

    def assign_to(self, variable: keras.Variable) -> None:
        """Gives a variable this value."""
        store(variable, self.value if self._shared else keras.ops.copy(self.value))

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        """Returns a copy on the host."""
        array = to_numpy(self.value)
        return array if dtype is None else array.astype(dtype)


class Snapshot:
    """The values of several variables at one moment.

    Args:
        variables: name -> variable.

    Attributes:
        held: name -> value.
    """

    def __init__(self, variables: dict[str, keras.Variable]):
        self._variables = variables
        self.held = {name: Held(variable) for name, variable in variables.items()}

    def restore(self) -> None:
        """Gives the variables their values of that moment."""
        for name, variable in self._variables.items():
            self.held[name].assign_to(variable)

    def is_same(self, other: "Snapshot") -> bool:
        """Returns whether the values are those of another snapshot of the same variables."""
        pairs = ((held.value, other.held[name].value) for name, held in self.held.items())
        return all(bool(keras.ops.all(one == another)) for one, another in pairs)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns name -> copy on the host."""
        return {name: np.asarray(held) for name, held in self.held.items()}
