"""A masked weight: a Keras variable that is read as its effective weight.

The class of the variable itself is swapped, so whoever reads it gets the effective
weight: `kernel` of a layer, `self._w`, a loop over `trainable_weights`, a Functional
operation on the variable. It stays a variable: it has a path, can be assigned, and
optimizers, `save` and checkpoints see what is stored.
"""

import contextlib
import contextvars
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from lth_tf.keras_internals import has_value, in_layer_call, is_bound
from lth_tf.masking.effective import BINARY, Effective, promised_zero

_SLOT = "_lth_tf_slot"
# None: stored outside layers and effective inside them.
_reading: contextvars.ContextVar[str | None] = contextvars.ContextVar("reading", default=None)
_storing: contextvars.ContextVar[bool] = contextvars.ContextVar("storing", default=False)
_record: contextvars.ContextVar[list | None] = contextvars.ContextVar("record", default=None)

# What makes a value of a variable: conversions, operators, indexing.
_OPERATORS = (
    "add radd sub rsub mul rmul truediv rtruediv floordiv rfloordiv mod rmod pow rpow matmul "
    "rmatmul neg pos abs eq ne lt le gt ge getitem round array tf_tensor jax_array"
)
_READS = ("numpy", *(f"__{name}__" for name in _OPERATORS.split()))
# What needs the variable as it is stored: updates, checkpoints, SavedModels.
_STORED_METHODS = (
    "assign_add",
    "assign_sub",
    "_serialize_to_tensors",
    "_restore_from_tensors",
    "_copy_trackable_to_cpu",
    "_export_to_saved_model_graph",
    "_write_object_proto",
)
_STORED_PROPERTIES = ("handle", "_shared_name")


if TYPE_CHECKING:
    from keras import Variable as _Variable
else:
    _Variable = object  # the class that a variable has comes in later


@dataclasses.dataclass(eq=False)
class Slot:
    """A masked weight, its mask, and how they make the effective weight.

    Attributes:
        weight: the variable.
        mask: bool variable of the same shape; True keeps.
        rule: makes the effective weight.
        state: name -> variable that the rule keeps.
    """

    weight: keras.Variable
    mask: keras.Variable
    rule: Effective = BINARY
    state: dict[str, keras.Variable] = dataclasses.field(default_factory=dict)

    def effective(self, stored: keras.KerasTensor) -> keras.KerasTensor:
        """Returns what a layer computes with: the one place where that is made."""
        record = _record.get()
        if record is not None:
            record.append(self.weight)
        state = {name: variable.value for name, variable in self.state.items()}
        return self.rule(stored, self.mask.value, state)

    def zeroed(self, stored: keras.KerasTensor) -> keras.KerasTensor:
        """Returns a stored weight with 0 where it is pruned."""
        # Of the weight's sign, like `zero_where_pruned` on the host.
        stored = keras.ops.convert_to_tensor(stored)
        zero = keras.ops.where(keras.ops.isfinite(stored), stored * 0, keras.ops.zeros_like(stored))
        return keras.ops.where(self.mask.value, stored, zero)


class MaskedVariable(_Variable):
    """What a masked variable's class adds to the class it is made from."""

    _original_class: type

    @property
    def value(self) -> Any:
        """The effective weight inside a layer's call, else the stored one."""
        stored = super().value
        reading = _reading.get()
        if reading == "stored" or (reading is None and not in_layer_call()):
            return stored
        return slot_of(self).effective(stored)

    def _direct_assign(self, value: Any) -> None:
        slot = slot_of(self)
        if slot.rule.idempotent and not _storing.get() and has_value(slot.mask):
            value = slot.zeroed(value)
        super()._direct_assign(value)

    @property
    def constraint(self) -> Callable | None:
        """The variable's constraint, and then 0 for pruned weights.

        Optimizers apply it after each update, so stored weights stay 0 even with
        momentum from before the pruning or an update that mixes the weights of a
        matrix (Muon). With JAX they do once `fit` hands its weights back.
        """
        own, slot = super().constraint, slot_of(self)
        if promised_zero() or not slot.rule.idempotent or not is_bound(slot.mask):
            return own

        def constrain(weight: Any) -> Any:
            with reading_stored():
                return slot.zeroed(weight if own is None else own(weight))

        return constrain

    @constraint.setter
    def constraint(self, value: Callable | None) -> None:
        super(MaskedVariable, type(self)).constraint.fset(self, value)

    @property
    def regularizer(self) -> Callable | None:
        """The variable's regularizer, applied to the effective weight."""
        own, slot = super().regularizer, slot_of(self)
        if own is None or not is_bound(slot.mask):
            return own

        def regularize(weight: Any) -> Any:
            with reading_stored():
                stored = self.value if weight is self else weight
            return own(slot.effective(stored))

        return regularize

    @regularizer.setter
    def regularizer(self, value: Callable | None) -> None:
        super(MaskedVariable, type(self)).regularizer.fset(self, value)


class Mask(_Variable):
    """What a mask's class adds: when it is assigned, the weights it prunes are stored as 0."""

    def _direct_assign(self, value: Any) -> None:
        super()._direct_assign(value)
        slot = vars(self)[_SLOT]
        if has_value(slot.weight) and not _storing.get():
            with reading_stored():
                slot.weight.assign(slot.weight.value)


@functools.cache
def _mask_class(original: type) -> type:
    return type("Mask", (Mask, original), {"__hash__": original.__hash__})


@functools.cache
def _masked_class(original: type) -> type:
    namespace = {"__hash__": original.__hash__, "_original_class": original}
    for name in _READS:
        if hasattr(original, name):
            namespace[name] = _read(getattr(original, name))
    for name in _STORED_METHODS:
        if hasattr(original, name):
            namespace[name] = _stored(getattr(original, name))
    for name in _STORED_PROPERTIES:
        if hasattr(original, name):
            namespace[name] = property(_stored(getattr(original, name).fget))
    return type(f"Masked{original.__name__}", (MaskedVariable, original), namespace)


def _read(method: Callable) -> Callable:
    """Makes a conversion or an operator see the effective weight outside layers too."""

    @functools.wraps(method)
    def read(self: Any, *args: Any, **kwargs: Any) -> Any:
        slot = slot_of(self)
        if _reading.get() or not slot.rule.idempotent or not is_bound(slot.mask):
            return method(self, *args, **kwargs)
        with _reading_as("effective"):
            return method(self, *args, **kwargs)

    return read


def _stored(method: Callable) -> Callable:
    @functools.wraps(method)
    def stored(*args: Any, **kwargs: Any) -> Any:
        with reading_stored():
            return method(*args, **kwargs)

    return stored


@contextlib.contextmanager
def _reading_as(what: str) -> Iterator[None]:
    token = _reading.set(what)
    try:
        yield
    finally:
        _reading.reset(token)


def reading_stored() -> contextlib.AbstractContextManager:
    """Masked weights are read as they are stored, wherever they are read."""
    return _reading_as("stored")


@contextlib.contextmanager
def recording() -> Iterator[list[keras.Variable]]:
    """Gives a list that grows by each masked weight that is read."""
    record: list[keras.Variable] = []
    token = _record.set(record)
    try:
        yield record
    finally:
        _record.reset(token)


def is_masked(variable: keras.Variable) -> bool:
    """Returns whether a variable is a masked weight."""
    return isinstance(variable, MaskedVariable)


def slot_of(variable: Any) -> Slot:
    """Returns the slot of a masked weight."""
    return vars(variable)[_SLOT]


def put_mask(slot: Slot) -> None:
    """Makes a variable the masked weight of a slot."""
    classes: tuple[Any, Any] = type(slot.weight), type(slot.mask)
    setattr(slot.weight, _SLOT, slot)
    slot.weight.__class__ = _masked_class(classes[0])
    setattr(slot.mask, _SLOT, slot)
    slot.mask.__class__ = _mask_class(classes[1])


def take_mask(weight: keras.Variable) -> None:
    """Gives a masked weight back its original class."""
    slot = slot_of(weight)
    weight.__class__ = weight._original_class
    slot.mask.__class__ = type(slot.mask).__bases__[1]
    delattr(weight, _SLOT)
    delattr(slot.mask, _SLOT)


def to_numpy(variable: keras.Variable) -> np.ndarray:
    """Returns a copy of a variable's value; of bfloat16, which numpy does not know, as float32."""
    value = np.array(keras.ops.convert_to_numpy(variable))
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def stored_value(variable: keras.Variable) -> np.ndarray:
    """Returns a copy of what a variable stores, pruned weights included."""
    with reading_stored():
        return to_numpy(variable)


def store(variable: keras.Variable, value: np.ndarray | keras.KerasTensor) -> None:
    """Assigns a variable all that it stores, pruned weights as they come."""
    token = _storing.set(True)
    try:
        with reading_stored():
            variable.assign(value)
    finally:
        _storing.reset(token)
