"""How every program of this project is called, and how it ends."""

import contextlib
import importlib.util
import os
import pathlib
import re
import signal
import sys
from collections.abc import Callable

from lth_tf import signals
from lth_tf.errors import RunError, UsageError
from lth_tf.lazy import missing_extra

# Programs of export that nobody looks for under that name.
_NAMES = {"export.prune": "prune"}

_CHECKOUT = pathlib.Path(__file__).resolve().parents[2]


def run_main(work: Callable[[], object]) -> int:
    """Does the work of a program and prints its errors as one line on stderr.

    Returns:
        The exit code: 0 for success, 2 for a mistake in what was asked for, 1
        for a failure while running, 128 and its number for a signal (130 for Ctrl-C).
    """
    try:
        with signals.raised():
            work()
            sys.stdout.flush()
    except (UsageError, RunError) as error:
        flags = ", ".join(f"--{name}" for name in error.arguments)
        print(f"error: {error}{flags and f' See {flags}.'}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except ModuleNotFoundError as error:
        if not (hint := missing_extra(error)):
            raise
        print(f"error: {hint}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as error:
        number = getattr(error, "number", signal.SIGINT)
        with contextlib.suppress(OSError):  # of a terminal that is gone
            print(f"\nInterrupted by {signal.Signals(number).name}.", file=sys.stderr)
        return 128 + number
    except BrokenPipeError:
        # Whoever reads the output has seen enough, as `head` does. Without this Python
        # would fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def command(name: str) -> str:
    """Returns how a person starts a program of this project.

    Args:
        name: the program, e.g. "report" or "export".

    Returns:
        "lth NAME" where lth_tf is installed, "python -m experiments.NAME" in a checkout; with
        a path before it if that is not on their PATH.
    """
    if not _installed():
        return f"{python()} -m {_module(name)}"
    script = pathlib.Path(sys.executable).with_name("lth")
    if not script.exists():
        return f"{python()} -m lth_tf {name}"
    return f"lth {name}" if python() == "python" else f"{_shorter(script)} {name}"


def as_called(doc: str) -> str:
    """Returns a program's docstring with its commands as this installation has them.

    Args:
        doc: text with commands of a checkout, e.g. "python -m experiments.conv6".
    """
    if not _installed():
        return doc
    return re.sub(
        r"python -m ((?:experiments|export)[\w.]*)", lambda m: f"lth {short_name(m[1])}", doc
    )


def short_name(module: str) -> str:
    """Returns what `lth` calls a module of the checkout.

    Example:
    >>> short_name("experiments.conv6"), short_name("export"), short_name("export.benchmark")
    ('conv6', 'export', 'export.benchmark')
    """
    return _NAMES.get(module, module.removeprefix("experiments."))


def python() -> str:
    """Returns how a person calls this Python: "python", or a path if it is not on their PATH."""
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return "python"
    return _shorter(pathlib.Path(sys.executable))


def _shorter(file: pathlib.Path) -> str:
    return min(os.path.relpath(file), str(file), key=len)


def _module(name: str) -> str:
    name = next((module for module, short in _NAMES.items() if short == name), name)
    return name if name.split(".")[0] == "export" else f"experiments.{name}"


def _installed() -> bool:
    """Returns whether programs are part of lth_tf here, not folders of the checkout beside it."""
    for package in ("experiments", "export"):
        if f"lth_tf.{package}" in sys.modules:
            return True
    for package in ("experiments", "export"):
        # A project of the user's may have packages of these names.
        paths = getattr(sys.modules.get(package), "__path__", ())
        if str(_CHECKOUT / package) in map(str, paths):
            return False
    return importlib.util.find_spec("lth_tf.experiments") is not None
