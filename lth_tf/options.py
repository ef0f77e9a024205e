"""Options as dataclasses: a field carries its default, help text and bounds.

Command-line flags, the JSON in a run directory and the run's name all come from
the fields, so there is one place to add or change one. A field can be a part: options of
its own kind, chosen by name out of a registry (the method), or all those that are asked
for (the controls). Seen from outside the fields of the parts stand beside the others.
"""

import dataclasses
import sys
import types
import typing
from collections.abc import Iterator
from typing import Any

from lth_tf.errors import UsageError
from lth_tf.registry import Registry

LARGEST = 2**31 - 1  # whole number that TensorFlow's int32 and every JSON reader hold


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    in_run_name: bool = True,
    part_of: Registry | None = None,
) -> Any:
    """Returns a dataclass field with a help text and bounds.

    Args:
        default: the default value.
        help: one line for `--help`.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        below: values must be smaller than this.
        choices: the strings allowed; any if empty.
        in_run_name: False for a field that says how much of an experiment is run and
            changes no result that is already there: a finished run can be extended.
        part_of: for a part, the registry of option classes that it is taken from. The
            default is the name of one, or () for any number of them.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "below": below,
        "choices": choices,
        "in_run_name": in_run_name,
        "part_of": part_of,
    }
    return dataclasses.field(default=default, metadata=metadata)


def option_of(options: "type[Options]", name: str) -> Any:
    """Returns a field that other options have, for options that have it as well.

    Args:
        options: the class that has it.
        name: the field.
    """
    (field,) = (field for field in dataclasses.fields(options) if field.name == name)
    return dataclasses.field(default=field.default, metadata=field.metadata)


@dataclasses.dataclass(frozen=True)
class Options:
    """Base of the option dataclasses: checks every field against its type and bounds.

    Raises:
        UsageError: at construction, naming the field, what was expected and
            what was received.
    """

    def __post_init__(self) -> None:
        for field in dataclasses.fields(self):
            if field.metadata["part_of"] is None:
                _check(field, getattr(self, field.name))
            else:
                # Frozen, and still at construction.
                object.__setattr__(self, field.name, _parts(field, getattr(self, field.name)))

    def as_dict(self, in_run_name: bool = False) -> dict[str, Any]:
        """Returns field name -> value, with the fields of the parts.

        A part chosen by name is there under its name. Parts of which there is any number
        are there with their defaults where they are not asked for.

        Args:
            in_run_name: only the fields that enter the run's name.
        """
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if in_run_name and not field.metadata["in_run_name"]:
                continue
            value, registry = getattr(self, field.name), field.metadata["part_of"]
            if registry is None:
                found[field.name] = value
                continue
            if isinstance(value, tuple):
                given = {type(part): part for part in value}
                parts = [given.get(kind) or kind() for kind in registry.items().values()]
            else:
                found[field.name] = registry.name_of(type(value))
                parts = [value]
            for part in parts:
                found |= part.as_dict(in_run_name)
        return found

    def part_defaults(self) -> dict[str, Any]:
        """Returns field name -> default of the parts that the options have."""
        found: dict[str, Any] = {}
        for field in dataclasses.fields(self):
            if field.metadata["part_of"] is not None:
                value = getattr(self, field.name)
                for part in value if isinstance(value, tuple) else (value,):
                    found |= type(part)().as_dict()
        return found

    def replace(self, **changes: Any) -> typing.Self:
        """Returns a copy with other values, of its own fields or of those of its parts.

        Raises:
            UsageError: if a field is unknown or its value out of bounds.
        """
        own = {f.name: changes.pop(f.name) for f in dataclasses.fields(self) if f.name in changes}
        # All at once: options are checked together.
        for field in dataclasses.fields(self):
            registry = field.metadata["part_of"]
            if registry is None:
                continue
            value = _parts(field, own.get(field.name, getattr(self, field.name)))
            several = isinstance(value, tuple)
            parts = {type(part): part for part in (value if several else (value,))}
            for kind in list(registry.items().values()) if several else list(parts):
                names = changes.keys() & {f.name for f in dataclasses.fields(kind)}
                part = parts.get(kind) or kind()
                parts[kind] = part.replace(**{name: changes.pop(name) for name in names})
            own[field.name] = tuple(parts.values()) if several else parts[type(value)]
        if changes:
            raise UsageError(
                f"Expected fields of {type(self).__name__}. Received: {', '.join(sorted(changes))}."
            )
        return dataclasses.replace(self, **own)

    def to_json(self) -> dict[str, Any]:
        """Returns the fields, those of the parts among them, as a dict that JSON can hold."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in self.as_dict().items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> typing.Self:
        """Returns the object that `to_json` described.

        Raises:
            UsageError: if a field is unknown or its value out of bounds.
        """
        values = {k: tuple(v) if isinstance(v, list) else v for k, v in values.items()}
        made: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            registry = field.metadata["part_of"]
            if registry is None:
                continue
            if field.default == ():
                kinds = list(registry.items().values())
            else:
                kinds = [registry.get(values.pop(field.name, field.default))]
            parts = []
            for kind in kinds:
                known = {f.name for f in dataclasses.fields(kind)} & values.keys()
                parts.append(kind(**{name: values.pop(name) for name in known}))
            made[field.name] = tuple(parts) if field.default == () else parts[0]
        unknown = sorted(set(values) - {field.name for field in dataclasses.fields(cls)})
        if unknown:
            raise UsageError(
                f"Expected fields of {cls.__name__}. Received: {', '.join(unknown)}. "
                "The file was written by another version of lth_tf."
            )
        return cls(**values, **made)


def part_classes(options: Options | type[Options]) -> Iterator[tuple[dataclasses.Field, str, type]]:
    """Yields the field, name and class of every part that options could have."""
    for field in dataclasses.fields(options):
        registry = field.metadata["part_of"]
        for name, kind in registry.items().items() if registry else ():
            yield field, name, kind


def _parts(field: dataclasses.Field, value: Any) -> Any:
    """Returns the part, or those of a tuple that differ from their defaults, in their order."""
    registry = field.metadata["part_of"]
    if field.default != ():
        kind = registry.get(value) if isinstance(value, (str, type)) else type(value)
        registry.name_of(kind)
        return kind() if isinstance(value, (str, type)) else value
    given = {type(part): part for part in value}
    for kind in given:
        registry.name_of(kind)
    known = registry.items().values()
    return tuple(given[kind] for kind in known if kind in given and given[kind] != kind())


def value_type(field: dataclasses.Field) -> tuple[Any, bool]:
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
        return "one of " + ", ".join(choice or "nothing" for choice in limits["choices"])
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
        largest = LARGEST if kind is int else sys.float_info.max
        # Written so that NaN fails.
        fits = abs(value) <= largest and all(
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
        if isinstance(value, int) and abs(value) > LARGEST:
            bounds = f"{bounds} and at most {LARGEST}".removeprefix(" and ")
        raise UsageError(
            f"Expected {field.name} to be {kind_text(kind)}{bounds and ' ' + bounds}. "
            f"Received: {field.name}={value!r}."
        )


def kind_text(kind: type) -> str:
    """Returns in words what the values of a type are."""
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        kind, "whole numbers"
    )
