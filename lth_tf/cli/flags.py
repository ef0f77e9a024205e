"""Command-line flags made from the fields of option dataclasses."""

import contextlib
import dataclasses
import difflib
import re
import typing
from typing import Any, TypeVar

from absl import flags

import lth_tf
from lth_tf.cli.program import as_called
from lth_tf.errors import UsageError
from lth_tf.options import Options, bounds_text, kind_text, part_classes, value_type

_Options = TypeVar("_Options", bound=Options)
_ALIASES = {"trials": "replicates", "values": "dtype"}


def parse(
    argv: list[str],
    doc: str,
    *defaults: _Options,
    presets: dict[str, dict[str, Any]] | None = None,
    positional: str = "",
) -> list[Any] | None:
    """Returns the option objects that a command line asks for.

    Args:
        argv: the program's name and its arguments.
        doc: what the program does, for `--help`.
        *defaults: option objects; each field becomes a flag.
        presets: name -> field values that `--preset=name` puts in place of the
            defaults.
        positional: what the arguments that are no flags are; "" if there are none.

    Returns:
        One object for each of `defaults`, with `positional` the list of those
        arguments after them, or None if the help or the version was asked for
        and printed.

    Raises:
        UsageError: if a flag is unknown or a value does not fit.
    """
    values = flags.FlagValues()
    for options in defaults:
        for field in _plain_fields(options):
            _define(field, getattr(options, field.name), values)
        for field, part in _parts(options):
            if field.default != () and field.name not in values:
                _define_part(field, getattr(options, field.name), values)
            for own in dataclasses.fields(part):
                # Methods may share an option; each has a default of its own.
                if own.name not in values:
                    _define(own, getattr(part, own.name), values)
    if presets:
        text = "Values that differ from the defaults together; flags given beside it override it."
        flags.DEFINE_enum("preset", None, list(presets), text, flag_values=values)
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    flags.DEFINE_bool("version", False, "Show the version.", flag_values=values)
    try:
        rest = values([argv[0], *map(_today, argv[1:])])[1:]
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(values), n=1, cutoff=0.5)
        hint = f"Did you mean --{close[0]}?" if close else "--help lists the flags."
        raise UsageError(f"Expected a known flag. Received: --{error.flagname}. {hint}") from error
    except flags.IllegalFlagValueError as error:
        raise UsageError(_plain(error, defaults)) from error
    except flags.Error as error:
        raise UsageError(re.sub(r"\s+", " ", str(error))) from error
    if rest and not positional:
        raise UsageError(f"Expected flags (--name=value). Received: {rest[0]!r}.")
    if values["help"].value:
        print(as_called(doc.strip()), "\n\nFlags:\n", _help(defaults, presets or {}), sep="")
        return None
    if values["version"].value:
        print(f"lth_tf {lth_tf.__version__}")
        return None
    preset = presets[values["preset"].value] if presets and values["preset"].value else {}
    chosen = [_chosen(options, values, preset) for options in defaults]
    return [*chosen, rest] if positional else chosen


def _plain(error: flags.Error, defaults: tuple[Options, ...]) -> str:
    """Returns what is wrong with a value in the words of the options' own checks."""
    text = re.sub(r"\s+", " ", str(error))
    found = re.match(r"flag --(\w+)=(.*?): ", text)
    kinds = {
        field.name: value_type(field)[0]
        for options in defaults
        for part in (options, *(part for _, part in _parts(options)))
        for field in dataclasses.fields(part)
    }
    kind = kinds.get(found[1]) if found else None
    if found is None or kind not in (int, float, bool):
        return text
    return f"Expected {found[1]} to be {kind_text(kind)}. Received: {found[1]}={found[2]!r}."


def _today(argument: str) -> str:
    """Returns an argument under its present name."""
    for old, new in _ALIASES.items():
        for dashes in ("--", "-"):
            if argument == dashes + old or argument.startswith(f"{dashes}{old}="):
                return dashes + new + argument[len(dashes + old) :]
    return argument


def _plain_fields(options: Options) -> list[dataclasses.Field]:
    return [f for f in dataclasses.fields(options) if f.metadata["part_of"] is None]


def _parts(options: Options) -> list[tuple[dataclasses.Field, Options]]:
    """Returns every part that options could have, those that they have as they are."""
    found = []
    for field, _, kind in part_classes(options):
        value = getattr(options, field.name)
        given = {type(part): part for part in (value if isinstance(value, tuple) else (value,))}
        found.append((field, given.get(kind) or kind()))
    return found


def _chosen(options: _Options, values: flags.FlagValues, preset: dict[str, Any]) -> _Options:
    changes = _given(options, values, preset)
    parts = _parts(options)
    for field in dataclasses.fields(options):
        if field.metadata["part_of"] is None:
            continue
        having = [part for other, part in parts if other is field]
        if field.default == ():
            changes[field.name] = tuple(
                dataclasses.replace(part, **_given(part, values, preset)) for part in having
            )
            continue
        name = values[field.name].value if values[field.name].present else preset.get(field.name)
        kind = field.metadata["part_of"].get(name or type(getattr(options, field.name)))
        (part,) = [part for part in having if type(part) is kind]
        _refuse_others_flags(field, part, having, values)
        changes[field.name] = dataclasses.replace(part, **_given(part, values, preset))
    return dataclasses.replace(options, **changes)


def asked(argv: list[str], name: str, default: str = "") -> str:
    """Returns the value of one flag, ahead of all others, which may depend on it.

    Example:
    >>> asked(["program", "--levels=3", "--network", "conv2"], "network")
    'conv2'
    """
    values = flags.FlagValues()
    flags.DEFINE_string(name, default, "", flag_values=values)
    with contextlib.suppress(flags.Error):  # told of when all flags are read
        values(argv, known_only=True)
        return values[name].value
    return default


def _given(options: Options, values: flags.FlagValues, preset: dict[str, Any]) -> dict[str, Any]:
    fields = _plain_fields(options)
    given = {f.name: _value(f, values[f.name].value) for f in fields if values[f.name].present}
    return {f.name: preset[f.name] for f in fields if f.name in preset} | given


def _refuse_others_flags(
    field: dataclasses.Field, part: Options, parts: list[Options], values: flags.FlagValues
) -> None:
    """Refuses flags of parts that were not chosen: they would do nothing."""
    name_of = field.metadata["part_of"].name_of
    having: dict[str, list[str]] = {}
    for other in parts:
        for f in dataclasses.fields(other):
            having.setdefault(f.name, []).append(name_of(type(other)))
    own = name_of(type(part))
    for name, names in having.items():
        if values[name].present and own not in names:
            raise UsageError(
                f"Expected flags of --{field.name}={own}. Received: --{name}, "
                f"which is one of --{field.name}={', '.join(names)}."
            )


def _define_part(field: dataclasses.Field, default: Options, values: flags.FlagValues) -> None:
    registry = field.metadata["part_of"]
    name = registry.name_of(type(default))
    flags.DEFINE_string(field.name, name, field.metadata["help"], flag_values=values)


def _define(field: dataclasses.Field, default: Any, values: flags.FlagValues) -> None:
    kind, _ = value_type(field)
    text = field.metadata["help"]
    if kind is tuple:
        flags.DEFINE_list(field.name, [str(v) for v in default], text, flag_values=values)
    elif kind is bool:
        flags.DEFINE_bool(field.name, default, text, flag_values=values)
    else:
        define = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
        define[kind](field.name, default, text, flag_values=values)


def _value(field: dataclasses.Field, value: Any) -> Any:
    if value_type(field)[0] is not tuple:
        return value
    kind = typing.get_args(field.type)[0]
    try:
        return tuple(kind(v) for v in value)
    except ValueError:
        raise UsageError(
            f"Expected {field.name} to be comma-separated numbers. "
            f"Received: {field.name}={','.join(value)!r}."
        ) from None


def _help(defaults: tuple[Options, ...], presets: dict[str, dict[str, Any]]) -> str:
    lines = []
    for name, preset in presets.items():
        lines.append(f"  --preset={name}")
        lines.append("      " + ", ".join(f"{field}={value}" for field, value in preset.items()))
    for options in defaults:
        own = type(options).__annotations__
        for field in sorted(dataclasses.fields(options), key=lambda field: field.name not in own):
            registry = field.metadata["part_of"]
            if registry is None:
                lines += _help_of(field, getattr(options, field.name))
            elif field.default != ():
                name = registry.name_of(type(getattr(options, field.name)))
                lines.append(f"  --{field.name} ({', '.join(registry.names())}; default {name})")
                lines.append(f"      {field.metadata['help']}")
        for field, part in _parts(options):
            if dataclasses.fields(part):
                name = field.metadata["part_of"].name_of(type(part))
                lines.append(f"\n{field.metadata['part_of'].kind.capitalize()} {name}:")
                for own_field in dataclasses.fields(part):
                    lines += _help_of(own_field, getattr(part, own_field.name))
        lines.append("")
    return "\n".join(lines)


def _help_of(field: dataclasses.Field, value: Any) -> list[str]:
    if isinstance(value, tuple):
        value = ",".join(map(str, value))
    notes = [bounds_text(field)] if bounds_text(field) else []
    if value not in (None, ""):
        notes.append(f"default {value}")
    return [
        f"  --{field.name}" + (f" ({'; '.join(notes)})" if notes else ""),
        f"      {field.metadata['help']}",
    ]
