"""The two ways a program of this project fails on purpose."""

import contextlib
import errno
import os
import pathlib
from collections.abc import Iterator, Sequence

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)


class UsageError(ValueError):
    """A mistake in what was asked for: wrong value, wrong file, wrong folder.

    Programs print its message as one line and exit with code 2.

    Args:
        message: what was expected, what was received, what to do.
        arguments: names of the arguments to try otherwise; a program names their flags.
    """

    def __init__(self, message: str, *, arguments: Sequence[str] = ()):
        super().__init__(message)
        self.arguments = tuple(arguments)


class RunError(RuntimeError):
    """Work that was asked for correctly and could not go on.

    Programs print its message as one line and exit with code 1.

    Args:
        message: what happened and what to do.
        arguments: as those of `UsageError`.
    """

    def __init__(self, message: str, *, arguments: Sequence[str] = ()):
        super().__init__(message)
        self.arguments = tuple(arguments)


@contextlib.contextmanager
def errors_of(path: str | os.PathLike, within: str | os.PathLike | None = None) -> Iterator[None]:
    """Turns the system's errors into one line that names the file.

    Args:
        path: what is being written.
        within: leave errors alone that name a file outside this folder.

    Raises:
        UsageError: if the folder cannot be written to.
        RunError: if the disk is full, or anything else fails.
    """
    try:
        yield
    except OSError as error:
        named = error.filename
        if within is not None and isinstance(named, (str, bytes)):
            if pathlib.Path(within) not in pathlib.Path(os.fsdecode(named)).parents:
                raise
        why = error.strerror or error
        if error.errno in _NOT_WRITABLE:
            raise UsageError(
                f"Expected a folder that can be written to. Received: {path} ({why}). "
                "Choose another one."
            ) from error
        raise RunError(
            f"Could not write {path} ({why}). What was finished before is kept: "
            "make room and run the same command again."
        ) from error


def one_line(error: str | Exception) -> str:
    """Returns an error as one short line that a terminal can print."""
    text = f"no {error}" if isinstance(error, KeyError) else str(error)
    text = " ".join((text or type(error).__name__).split())
    shown = "".join(c if c.isprintable() else "?" for c in text)
    return shown if len(shown) <= 200 else f"{shown[:197]}..."
