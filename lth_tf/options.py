"""Options as dataclasses: a field carries its default, help text and bounds.

Command-line flags, the JSON in a run directory and the run's name all come from
the fields, so there is one place to add or change one.
"""

import dataclasses
import types
import typing
from typing import Any

from lth_tf.errors import UsageError


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    extent: bool = False,
) -> Any:
    """Returns a dataclass field with a help text and bounds.

    Args:
        default: the default value.
        help: one line for `--help`.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        below: values must be smaller than this.
        choices: the strings allowed; any if empty.
        extent: True for a field that says how much of an experiment is run and
            changes no result that is already there. It is no part of the run's
            name, so a finished run can be extended.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "below": below,
        "choices": choices,
        "extent": extent,
    }
    return dataclasses.field(default=default, metadata=metadata)


class Options:
    """Base of the option dataclasses: checks every field against its type and bounds.

    Raises:
        UsageError: at construction, naming the field, what was expected and
            what was received.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dict that JSON can hold."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> typing.Self:
        """Returns the object that `to_json` described.

        Raises:
            UsageError: if a field is unknown or its value out of bounds.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(
                f"Expected fields of {cls.__name__}. Received: {', '.join(unknown)}. "
                "The file was written by another version of lth_tf."
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


def value_type(field: dataclasses.Field) -> tuple[type, bool]:
    """Returns a field's type and whether None is allowed.

    Example:
    >>> size = option(None, "Number of examples.")
    >>> size.type = int | None
    >>> value_type(size)
    (<class 'int'>, True)
    """
    if isinstance(field.type, types.UnionType):
        (kind,) = [t for t in typing.get_args(field.type) if t is not types.NoneType]
        return kind, True
    return typing.get_origin(field.type) or field.type, False


def bounds_text(field: dataclasses.Field) -> str:
    """Returns a field's bounds in words, "" if it has none.

    Example:
    >>> bounds_text(option(0.9, "Momentum.", minimum=0.0, below=1.0))
    'in [0.0, 1.0)'
    """
    limits = field.metadata
    if limits["choices"]:
        return "one of " + ", ".join(limits["choices"])
    low, high, below = limits["minimum"], limits["maximum"], limits["below"]
    if low is not None and below is not None:
        return f"in [{low}, {below})"
    if low is not None and high is not None:
        return f"in [{low}, {high}]"
    return "" if low is None else f"at least {low}"


def _check(field: dataclasses.Field, value: Any) -> None:
    kind, optional = value_type(field)
    if value is None and optional:
        return
    allowed = (int, float) if kind is float else kind
    limits = field.metadata
    fits = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
    if fits and isinstance(value, (int, float)):
        # Written so that NaN fails.
        fits = all(
            ok
            for bound, ok in (
                (limits["minimum"], limits["minimum"] is None or value >= limits["minimum"]),
                (limits["maximum"], limits["maximum"] is None or value <= limits["maximum"]),
                (limits["below"], limits["below"] is None or value < limits["below"]),
            )
        )
    if fits and limits["choices"]:
        fits = value in limits["choices"]
    if not fits:
        bounds = bounds_text(field)
        raise UsageError(
            f"Expected {field.name} to be {_kind_text(kind)}{bounds and ' ' + bounds}. "
            f"Received: {field.name}={value!r}."
        )


def _kind_text(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        kind, "whole numbers"
    )
