"""The command `lth`: every program of experiments and export under one name.

A program is a module whose docstring shows how it is started from a checkout, as in
`python -m experiments.conv6`. Its first line is what the list says of it. Nothing is imported
before a program is chosen.
"""

import dataclasses
import difflib
import importlib.util
import pathlib
import re
import runpy
import shutil
import sys
import textwrap
from collections.abc import Iterator

import lth_tf
from lth_tf.cli import program
from lth_tf.errors import UsageError

_ROOT = pathlib.Path(lth_tf.__file__).parents[1]
_DOCSTRING = re.compile(r'r?"""(?P<summary>[^\n]*?)(?:"""|\n)(?P<rest>.*?)"""', re.DOTALL)


@dataclasses.dataclass(frozen=True)
class Program:
    """A program that `lth NAME` starts.

    Attributes:
        name: what it is called by, e.g. "conv6" or "export.benchmark".
        module: the module to run, as it is imported here.
        summary: what it does, in one line.
    """

    name: str
    module: str
    summary: str


def main() -> None:
    """Starts a program, or lists all of them, and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    name, *rest = sys.argv[1:] or ["help"]
    if name == "--version":
        print(f"lth_tf {lth_tf.__version__}")
    elif name in ("help", "--help", "-h", "-help"):
        print(listing())
    else:
        chosen = _find(name)
        sys.argv[1:] = rest
        runpy.run_module(chosen.module, run_name="__main__", alter_sys=True)


def programs() -> dict[str, Program]:
    """Returns name -> program, in alphabetical order."""
    found = {}
    for package in ("experiments", "export"):
        for each in _programs_of(package):
            found[each.name] = each
    return dict(sorted(found.items()))


def listing() -> str:
    """Returns the programs, a line each, and how to go on."""
    known = programs()
    width = max(map(len, known), default=0) + 4
    columns = min(shutil.get_terminal_size().columns, 100)
    lines = [
        textwrap.fill(
            each.summary,
            columns,
            initial_indent=f"  {each.name}".ljust(width),
            subsequent_indent=" " * width,
        )
        for each in known.values()
    ]
    return "\n".join(
        [
            "Lottery tickets for Keras 3 and TensorFlow: find them, study them, ship them.",
            "",
            "usage: lth PROGRAM [--flag=value ...]",
            "       lth PROGRAM --help",
            "       lth --version",
            "",
            *lines,
        ]
    )


def _find(name: str) -> Program:
    known = programs()
    for spelling in (name, name.replace("-", "_")):
        if spelling in known:
            return known[spelling]
    close = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
    hint = f"Did you mean {close[0]}?" if close else "lth lists the programs."
    raise UsageError(f"Expected a program. Received: {name!r}. {hint}")


def _programs_of(package: str) -> Iterator[Program]:
    """Yields the programs of a package, from the text of its files."""
    home = _home(package)
    if home is None:
        return
    name, folder = home
    for file in folder.rglob("*.py"):
        parts = file.relative_to(folder).with_suffix("").parts
        inside = ".".join(part for part in parts if part != "__main__")
        in_checkout = ".".join(filter(None, (package, inside)))
        docstring = _DOCSTRING.match(file.read_text(encoding="utf-8"))
        if docstring and re.search(
            rf"^ +.*python -m {re.escape(in_checkout)}( |$)", docstring["rest"], re.MULTILINE
        ):
            yield Program(
                name=program.short_name(in_checkout),
                module=".".join([name, *filter(None, [inside])]),
                summary=docstring["summary"],
            )


def _home(package: str) -> tuple[str, pathlib.Path] | None:
    """Returns the name under which a package of programs is imported, and its folder."""
    for name in (f"{lth_tf.__name__}.{package}", package):
        spec = importlib.util.find_spec(name)
        for place in (spec and spec.submodule_search_locations) or ():
            folder = pathlib.Path(place).resolve()
            # A project of the user's may have packages of these names.
            if name != package or folder == _ROOT.resolve() / package:
                return name, folder
    return None
