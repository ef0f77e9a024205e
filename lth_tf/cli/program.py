"""How every program of this project ends."""

import os
import sys
from collections.abc import Callable

from lth_tf.errors import RunError, UsageError

INTERRUPTED = 130  # exit code


def run_main(work: Callable[[], None]) -> int:
    """Does the work of a program and prints its errors as one line on stderr.

    Returns:
        The exit code: 0 for success, 2 for a mistake in what was asked for, 1
        for a failure while running, 130 for an interruption.
    """
    try:
        work()
        sys.stdout.flush()
    except (UsageError, RunError) as error:
        flags = ", ".join(f"--{name}" for name in error.arguments)
        print(f"error: {error}{flags and f' See {flags}.'}", file=sys.stderr)
        return 2 if isinstance(error, UsageError) else 1
    except KeyboardInterrupt:
        print("\nInterrupted. The same command goes on from the last checkpoint.", file=sys.stderr)
        return INTERRUPTED
    except BrokenPipeError:
        # Whoever reads the output has seen enough, as `head` does. Without this Python
        # would fail once more when it flushes at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    return 0


def python() -> str:
    """Returns how a person calls this Python: "python", or a path if it is not on their PATH."""
    if sys.prefix == sys.base_prefix or os.environ.get("VIRTUAL_ENV") == sys.prefix:
        return "python"
    return os.path.relpath(sys.executable)
