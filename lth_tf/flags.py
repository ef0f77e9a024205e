"""Command-line flags made from the fields of option dataclasses."""

import dataclasses
import difflib
import re
from typing import TypeVar

from absl import flags

from lth_tf.config import Options, bounds_text, value_type
from lth_tf.errors import UsageError

_Options = TypeVar("_Options", bound=Options)


def parse(argv: list[str], doc: str, *defaults: _Options) -> list[_Options] | None:
    """Returns the option objects that a command line asks for.

    Args:
        argv: the program's name and its arguments.
        doc: what the program does, for `--help`.
        *defaults: option objects; each field becomes a flag.

    Returns:
        One object for each of `defaults`, or None if the help was asked for and
        printed.

    Raises:
        UsageError: if a flag is unknown or a value does not fit.
    """
    values = flags.FlagValues()
    for options in defaults:
        for field in dataclasses.fields(options):
            _define(field, getattr(options, field.name), values)
    flags.DEFINE_bool("help", False, "Show this help.", short_name="h", flag_values=values)
    try:
        rest = values(argv)[1:]
    except flags.UnrecognizedFlagError as error:
        close = difflib.get_close_matches(error.flagname, list(values), n=1, cutoff=0.5)
        hint = f"Did you mean --{close[0]}?" if close else "--help lists the flags."
        raise UsageError(f"Expected a known flag. Received: --{error.flagname}. {hint}") from error
    except flags.Error as error:
        raise UsageError(re.sub(r"\s+", " ", str(error))) from error
    if rest:
        raise UsageError(f"Expected flags (--name=value). Received: {rest[0]!r}.")
    if values["help"].value:
        print(doc.strip(), "\n\nFlags:\n", _help(defaults), sep="")
        return None
    return [
        dataclasses.replace(
            options,
            **{f.name: _value(f, values[f.name].value) for f in dataclasses.fields(options)},
        )
        for options in defaults
    ]


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
    try:
        return tuple(int(v) for v in value)
    except ValueError:
        raise UsageError(
            f"Expected {field.name} to be whole numbers with commas between. "
            f"Received: {field.name}={','.join(value)!r}."
        ) from None


def _help(defaults: tuple[Options, ...]) -> str:
    lines = []
    for options in defaults:
        for field in dataclasses.fields(options):
            value = getattr(options, field.name)
            if isinstance(value, tuple):
                value = ",".join(map(str, value))
            notes = [bounds_text(field)] if bounds_text(field) else []
            if value not in (None, ""):
                notes.append(f"default {value}")
            lines.append(f"  --{field.name}" + (f" ({'; '.join(notes)})" if notes else ""))
            lines.append(f"      {field.metadata['help']}")
    return "\n".join(lines)
