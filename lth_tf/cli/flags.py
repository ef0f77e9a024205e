"""Command-line flags made from the fields of option dataclasses."""

import dataclasses
import difflib
import re
import typing
from typing import Any, TypeVar

from absl import flags

from lth_tf.errors import UsageError
from lth_tf.options import Options, bounds_text, value_type

_Options = TypeVar("_Options", bound=Options)


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
        arguments after them, or None if the help was asked for and
        printed.

    Raises:
        UsageError: if a flag is unknown or a value does not fit.
    """
    values = flags.FlagValues()
    for options in defaults:
        for field in dataclasses.fields(options):
            _define(field, getattr(options, field.name), values)
    if presets:
        text = "Values that differ from the defaults together; flags given beside it override it."
        flags.DEFINE_enum("preset", None, list(presets), text, flag_values=values)
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    try:
        rest = values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(values), n=1, cutoff=0.5)
        hint = f"Did you mean --{close[0]}?" if close else "--help lists the flags."
        raise UsageError(f"Expected a known flag. Received: --{error.flagname}. {hint}") from error
    except flags.Error as error:
        raise UsageError(re.sub(r"\s+", " ", str(error))) from error
    if rest and not positional:
        raise UsageError(f"Expected flags (--name=value). Received: {rest[0]!r}.")
    if values["help"].value:
        print(doc.strip(), "\n\nFlags:\n", _help(defaults, presets or {}), sep="")
        return None
    preset = presets[values["preset"].value] if presets and values["preset"].value else {}
    chosen = [_chosen(options, values, preset) for options in defaults]
    return [*chosen, rest] if positional else chosen


def _chosen(options: _Options, values: flags.FlagValues, preset: dict[str, Any]) -> _Options:
    fields = dataclasses.fields(options)
    given = {f.name: _value(f, values[f.name].value) for f in fields if values[f.name].present}
    names = {field.name for field in fields}
    return dataclasses.replace(options, **{k: preset[k] for k in names & preset.keys()} | given)


def _define(field: dataclasses.Field, default: object, values: flags.FlagValues) -> None:
    kind, _ = value_type(field)
    text = field.metadata["help"]
    if kind is tuple:
        flags.DEFINE_list(field.name, [str(v) for v in default], text, flag_values=values)
    elif kind is bool:
        flags.DEFINE_bool(field.name, default, text, flag_values=values)
    else:
        define = {int: flags.DEFINE_integer, float: flags.DEFINE_float, str: flags.DEFINE_string}
        define[kind](field.name, default, text, flag_values=values)


def _value(field: dataclasses.Field, value: object) -> object:
    if value_type(field)[0] is not tuple:
        return value
    kind = typing.get_args(field.type)[0]
    try:
        return tuple(kind(v) for v in value)
    except ValueError:
        raise UsageError(
            f"Expected {field.name} to be numbers with commas between. "
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
            value = getattr(options, field.name)
            if isinstance(value, tuple):
                value = ",".join(map(str, value))
            notes = [bounds_text(field)] if bounds_text(field) else []
            if value not in (None, ""):
                notes.append(f"default {value}")
            lines.append(f"  --{field.name}" + (f" ({'; '.join(notes)})" if notes else ""))
            lines.append(f"      {field.metadata['help']}")
    return "\n".join(lines)
