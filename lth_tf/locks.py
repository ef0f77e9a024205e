"""Locks between processes; one that is killed gives its locks back. Linux only (flock)."""

import contextlib
import fcntl
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import IO

from lth_tf.errors import UsageError, errors_of


@contextlib.contextmanager
def lock(
    path: str | os.PathLike,
    *,
    expected: str = "a file that no process uses",
    received: str | os.PathLike | None = None,
    waiting: Callable[[str], None] | None = None,
) -> Iterator[None]:
    """Holds a lock file, which names the process that holds it.

    Args:
        path: the lock file; it is made, and its folder too.
        expected: what the error message asks for, e.g. "a search that no process works on".
        received: what it says is in use instead; by default `path`.
        waiting: called with the id of the process that has the lock before it is
            waited for; None is not to wait.

    Raises:
        UsageError: if another process has the lock and it is not waited for, or the
            file cannot be written.
    """
    with contextlib.ExitStack() as held:
        with errors_of(path):
            pathlib.Path(path).parent.mkdir(parents=True, exist_ok=True)
            file = held.enter_context(_locked(pathlib.Path(path), waiting, expected, received))
            file.truncate(0)
            file.write(f"{os.getpid()}\n")
            file.flush()
        yield


def try_lock(file: int) -> bool:
    """Locks an open file or folder, by its descriptor, unless another process has it."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


@contextlib.contextmanager
def _locked(
    path: pathlib.Path,
    waiting: Callable[[str], None] | None,
    expected: str,
    received: str | os.PathLike | None,
) -> Iterator[IO[str]]:
    while True:
        with open(path, "a+") as file:
            if not try_lock(file.fileno()):
                file.seek(0)
                holder = file.read(100).strip() or "unknown"
                if waiting is None:
                    raise UsageError(
                        f"Expected {expected}. Received: {received or path}, which process "
                        f"{holder} is using. Wait for it, or stop it."
                    )
                waiting(holder)
                fcntl.flock(file, fcntl.LOCK_EX)
            if _is_at(file.fileno(), path):
                yield file
                return
            # Whoever had it has deleted it, together with its folder.
            path.parent.mkdir(parents=True, exist_ok=True)


def _is_at(file: int, path: pathlib.Path) -> bool:
    try:
        return os.path.samestat(os.fstat(file), os.stat(path))
    except FileNotFoundError:
        return False
