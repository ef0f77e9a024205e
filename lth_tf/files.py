"""Files that are there whole or not at all.

A file is written under a temporary name, flushed to the disk and renamed, so a
process that is killed leaves the old file or the new one.
"""

import contextlib
import errno
import io
import json
import os
import pathlib
import zipfile
import zlib
from collections.abc import Callable, Iterator
from typing import Any, BinaryIO

import numpy as np

from lth_tf.errors import RunError, UsageError

PARTIAL = ".partial"

_NOT_WRITABLE = (errno.EACCES, errno.EPERM, errno.EROFS, errno.ENOENT, errno.ENOTDIR, errno.EEXIST)


def read_arrays(path: pathlib.Path) -> dict[str, np.ndarray]:
    """Reads an .npz file; never unpickles.

    Raises:
        UsageError: if the file is missing or damaged.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            # Read whole, unlike in np.load, for the archive to check its sums.
            return {
                name.removesuffix(".npy"): np.lib.format.read_array(
                    io.BytesIO(archive.read(name)), allow_pickle=False
                )
                for name in archive.namelist()
            }
    except (OSError, ValueError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        raise UsageError(damaged(path, str(error))) from error


def write_arrays(path: pathlib.Path, arrays: dict[str, np.ndarray]) -> None:
    """Writes an .npz file, whole or not at all.

    Raises:
        RunError: if the disk is full or the folder cannot be written to.
    """
    write_whole(path, lambda file: np.savez(file, **arrays))


def write_json(path: pathlib.Path, value: dict[str, Any]) -> None:
    """Writes a JSON file, whole or not at all."""
    text = json.dumps(value, indent=1) + "\n"
    write_whole(path, lambda file: file.write(text.encode()))


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        UsageError: if the file is missing or damaged.
    """
    try:
        value = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UsageError(damaged(path, str(error))) from error
    if not isinstance(value, dict):
        raise UsageError(damaged(path, "not a JSON object"))
    return value


def write_whole(path: pathlib.Path, write: Callable[[BinaryIO], Any]) -> None:
    """Writes a file through `write`; nothing is left under its name if that fails.

    Raises:
        UsageError: if the folder cannot be written to.
        RunError: if the disk is full.
    """
    # The process id keeps apart two processes that fill the same cache.
    partial = path.with_name(f"{path.name}.{os.getpid()}{PARTIAL}")
    with errors_of(path):
        try:
            with open(partial, "wb") as file:
                write(file)
                file.flush()
                os.fsync(file.fileno())
            os.replace(partial, path)
        except BaseException:
            partial.unlink(missing_ok=True)
            raise
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


@contextlib.contextmanager
def errors_of(path: str | os.PathLike) -> Iterator[None]:
    """Turns the system's errors into one line that names the file.

    Raises:
        UsageError: if the folder cannot be written to.
        RunError: if the disk is full, or anything else fails.
    """
    try:
        yield
    except OSError as error:
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


def damaged(path: pathlib.Path, why: str) -> str:
    """Returns what is said of a file that cannot be read.

    A folder with a summary or a config is made as a whole, any other file alone.
    """
    whole = path.name == "config.json" or (path.parent / "summary.json").exists()
    return (
        f"Could not read {path} ({why}): it is missing or damaged. "
        f"Delete {path.parent if whole else path} to make it again."
    )
