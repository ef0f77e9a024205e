"""Callbacks that live one level long: told what happens, and begun anew with each level."""

import collections
import json
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError

_CONTAINERS = (list, set, dict, collections.deque)
# Keras's monitoring callbacks turn the sign of min_delta when they first compare, and
# would turn the sign of a saved one again. The parameters are those of the fit.
_NOT_SAVED = ("min_delta", "params")

Attributes = dict[str, tuple[Any, Any]]


class LevelCallbacks:
    """The callbacks of the levels.

    Each level begins with their attributes as they were when `fit` began: numbers,
    texts, arrays, and lists, dicts, sets, deques and tuples of such. What else they hold
    (models, functions, files) is theirs to begin anew in `on_train_begin`.

    Args:
        callbacks: in the order in which they are told.
    """

    def __init__(self, callbacks: Sequence[keras.callbacks.Callback]):
        self.callbacks = list(callbacks)
        self._as_made = [_attributes(callback) for callback in self.callbacks]
        self._at_begin = self._as_made

    def set_model(self, model: keras.Model) -> None:
        """Gives the callbacks their model; they are then as they were made."""
        self._put_back(self._as_made)
        self.tell("set_model", model)

    def fit_begins(self) -> None:
        """Remembers what every level begins with."""
        self._at_begin = [_attributes(callback) for callback in self.callbacks]

    def begin_anew(self) -> None:
        """Makes the callbacks what they were when `fit` began."""
        self._put_back(self._at_begin)

    def tell(self, hook: str, *args: Any) -> None:
        """Calls a hook of every callback."""
        for callback in self.callbacks:
            getattr(callback, hook)(*args)

    def without(self, *hooks: str) -> bool:
        """Returns whether no callback has any of these hooks."""
        return all(
            getattr(getattr(callback, hook), "_is_default", False)
            for callback in self.callbacks
            for hook in hooks
        )

    def restored_epoch(self) -> int | None:
        """Returns the epoch whose weights a callback puts back at the end, counted from 0."""
        epochs = [
            callback.best_epoch
            for callback in self.callbacks
            if getattr(callback, "restore_best_weights", False) and hasattr(callback, "best_epoch")
        ]
        return epochs[-1] if epochs else None

    def state(self) -> dict[str, np.ndarray]:
        """Returns how far the callbacks are, for a checkpoint: plain values and arrays."""
        state = {"callbacks": np.array(json.dumps([_plain(c) for c in self.callbacks]))}
        for i, callback in enumerate(self.callbacks):
            for name, arrays in _weights(callback).items():
                state |= {f"kept/{i}/{name}/{j}": array for j, array in enumerate(arrays)}
        return state

    def restore(self, state: dict[str, np.ndarray]) -> None:
        """Makes the callbacks what they were when `state` was taken.

        Raises:
            UsageError: if they are not as many as then.
        """
        saved = json.loads(str(state["callbacks"]))
        if len(saved) != len(self.callbacks):
            raise UsageError(
                f"Expected the {len(saved)} level callbacks that the level was begun with. "
                f"Received: {len(self.callbacks)}."
            )
        for callback, values in zip(self.callbacks, saved, strict=True):
            for name, value in values.items():
                setattr(callback, name, value)
        lists: dict[tuple[int, str], list[np.ndarray]] = {}
        for key, array in state.items():
            kind, _, rest = key.partition("/")
            if kind == "kept":
                number, name, _ = rest.split("/")
                lists.setdefault((int(number), name), []).append(array)
        for (i, name), arrays in lists.items():
            setattr(self.callbacks[i], name, arrays)

    def _put_back(self, wanted: list[Attributes]) -> None:
        for callback, attributes in zip(self.callbacks, wanted, strict=True):
            for name in vars(callback).keys() - attributes.keys():
                delattr(callback, name)
            for name, (value, content) in attributes.items():
                vars(callback)[name] = _refilled(value, content)


def _attributes(callback: keras.callbacks.Callback) -> Attributes:
    """Returns name -> attribute and a copy of what is in it."""
    return {name: (value, _copied(value)) for name, value in vars(callback).items()}


def _copied(value: Any) -> Any:
    """Returns a copy of plain containers and arrays, anything else as it is."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if isinstance(value, dict):
        return {key: _copied(item) for key, item in value.items()}
    if isinstance(value, _CONTAINERS):
        return [_copied(item) for item in value]
    return tuple(map(_copied, value)) if type(value) is tuple else value


def _refilled(value: Any, content: Any) -> Any:
    """Returns a container with what `_copied` found in it: the same one, others may hold it."""
    content = _copied(content)
    if not isinstance(value, _CONTAINERS):
        return content
    value.clear()
    (value.extend if isinstance(value, (list, collections.deque)) else value.update)(content)
    return value


def _plain(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Returns the attributes of a callback that JSON holds as they are."""
    found = {}
    for name, value in vars(callback).items():
        if name in _NOT_SAVED or name == "_model":
            continue
        try:
            text = json.dumps(value, default=_number)
        except (TypeError, ValueError):
            continue
        same = json.loads(text)
        if type(same) is type(value) or isinstance(value, np.generic):
            if same == value or value != value:
                found[name] = same
    return found


def _number(value: Any) -> Any:
    if isinstance(value, np.generic):
        return value.item()
    raise TypeError


def _weights(callback: keras.callbacks.Callback) -> dict[str, list[np.ndarray]]:
    """Returns the attributes of a callback that are lists of arrays, such as the best weights."""
    return {
        name: value
        for name, value in vars(callback).items()
        if isinstance(value, list) and value and all(isinstance(v, np.ndarray) for v in value)
    }
