"""Files and folders that are there whole or not at all.

What is written goes to a temporary folder beside its place, is flushed to the disk and
moved there in one step. A process that is killed at any moment leaves the old file or
folder, or the new one; what it leaves beside it goes when the same is written again.
"""

import contextlib
import ctypes
import errno
import glob
import io
import json
import math
import os
import pathlib
import shutil
import stat
import tempfile
import zipfile
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np

from lth_tf.errors import UsageError, errors_of, one_line
from lth_tf.locks import try_lock

PARTIAL = ".partial"

_MOST_TEXT = 256 << 20  # bytes
_MOST_EXPANDED, _EXPANSION = 64 << 20, 100  # bytes, times

_AT_FDCWD, _RENAME_EXCHANGE = -100, 2  # fcntl.h and linux/fs.h


@contextlib.contextmanager
def atomic_path(path: str | os.PathLike, *, replaces: str = "") -> Iterator[pathlib.Path]:
    """Gives a path to write a file or folder to, and moves it to `path` at the end.

    The path given has the same name, in a temporary folder beside `path`. If the block
    fails or writes nothing, `path` stays what it was and nothing else is left behind.

    Args:
        path: where the file or folder will be; what is there is replaced.
        replaces: a folder is only replaced if it is empty or holds a file of this name.

    Raises:
        UsageError: if `path` cannot be written to, or is a folder that holds something
            else.
        RunError: if the disk is full.

    Example::

        with atomic_path("numbers.txt") as partial:
            partial.write_text("1 2 3")
    """
    path = pathlib.Path(path)
    with errors_of(path):
        _refuse_other(path, replaces)
        missing = [folder for folder in path.parents if not folder.exists()]
    try:
        with errors_of(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            _remove_leftovers(path)
        with _temporary_folder(path) as folder:
            partial = folder / path.name
            with errors_of(path, within=folder):
                yield partial
            with errors_of(path):
                if os.path.lexists(partial):
                    _flush_all(partial)
                    _move(partial, path)
                    for changed in (path.parent, *(made.parent for made in missing)):
                        _flush(changed)
    finally:
        for made in missing:
            with contextlib.suppress(OSError):
                made.rmdir()


def write_bytes(path: pathlib.Path, content: bytes) -> None:
    """Writes a file, whole or not at all; see `atomic_path`."""
    with atomic_path(path) as partial:
        partial.write_bytes(content)


def write_arrays(
    path: pathlib.Path, arrays: dict[str, np.ndarray], *, compress: bool = False
) -> None:
    """Writes an .npz file, whole or not at all; see `atomic_path`."""
    with atomic_path(path) as partial:
        save_arrays(partial, arrays, compress=compress)


def save_arrays(
    path: str | os.PathLike, arrays: Mapping[str, np.ndarray], *, compress: bool = False
) -> None:
    """Writes an .npz file where nobody else looks, e.g. in a temporary folder."""
    # numpy's type of savez takes every keyword for one of its own.
    save: Callable[..., None] = np.savez_compressed if compress else np.savez
    with open(path, "wb") as file:
        save(file, **arrays)


def write_json(path: pathlib.Path, value: dict[str, Any]) -> None:
    """Writes a JSON file, whole or not at all; see `atomic_path`."""
    write_bytes(path, f"{json.dumps(value, indent=1)}\n".encode())


def delete_folder(path: str | os.PathLike) -> None:
    """Deletes a folder; killed at any moment, all of it is there or nothing.

    Raises:
        UsageError: if it cannot be written to.
    """
    path = pathlib.Path(path)
    with errors_of(path):
        _remove_leftovers(path)
        with _temporary_folder(path) as folder:
            path.rename(folder / path.name)
            _flush(path.parent)


def read_arrays(path: pathlib.Path, expected: int = 0) -> dict[str, np.ndarray]:
    """Reads an .npz file; never unpickles.

    Args:
        path: the file.
        expected: bytes that its arrays may have in any case; see `check_expansion`.

    Raises:
        UsageError: if the file is missing or damaged.
    """
    with reading(path):
        return parse_arrays(path, expected)


def parse_arrays(
    path: str | os.PathLike, expected: int = 0, alone: str = ""
) -> dict[str, np.ndarray]:
    """Returns the arrays in an .npz file, or the one in an .npy file; raises anything.

    Args:
        path: the file.
        expected: as in `read_arrays`.
        alone: what the array in an .npy file is called; "" is not to take any.
    """
    with open_file(path) as file:
        if alone and not zipfile.is_zipfile(file):
            file.seek(0)
            return {alone: _array(file.read())}
        with zipfile.ZipFile(file) as archive:
            check_expansion(archive, os.fstat(file.fileno()).st_size, expected)
            # Read whole, unlike in np.load, for the archive to check its sums.
            return {
                name.removesuffix(".npy"): _array(archive.read(name)) for name in archive.namelist()
            }


def read_json(path: pathlib.Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object.

    Raises:
        UsageError: if the file is missing or damaged.
    """
    with reading(path):
        value = json.loads(read_text(path))
        if not isinstance(value, dict):
            raise ValueError("not a JSON object")
        return value


def read_text(path: pathlib.Path, errors: str = "strict") -> str:
    """Reads a text file of at most 256 MB; `errors` is that of `bytes.decode`.

    Raises:
        UsageError: if the file is missing or damaged.
    """
    with reading(path), open_file(path) as file:
        if os.fstat(file.fileno()).st_size > _MOST_TEXT:
            raise ValueError(f"more than {_MOST_TEXT >> 20} MB")
        return file.read().decode(errors=errors)


def open_file(path: str | os.PathLike) -> BinaryIO:
    """Opens a file to read it.

    Raises:
        OSError: if there is none.
        ValueError: if it is a folder, or a device or pipe, which may have no end.
    """
    file = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise ValueError("not a file")
    return open(file, "rb")


def check_expansion(archive: zipfile.ZipFile, size: int, expected: int = 0) -> None:
    """Checks that what is in an archive is not much larger than the archive.

    Args:
        archive: what is about to be read.
        size: bytes of its file.
        expected: bytes that its content may have in any case.

    Raises:
        ValueError: if it is more than 64 MB and a hundred times the archive.
    """
    content = sum(member.file_size for member in archive.infolist())
    if content > max(_MOST_EXPANDED, _EXPANSION * size, expected):
        raise ValueError(f"{content:,} bytes in an archive of {size:,}")


@contextlib.contextmanager
def reading(path: str | os.PathLike) -> Iterator[None]:
    """Turns whatever goes wrong in reading a file into one line that names it.

    Nobody can list what parsers raise when they are given anything.

    Raises:
        UsageError: in place of any other error.
    """
    try:
        yield
    except UsageError:
        raise
    except Exception as error:  # MemoryError and RecursionError among them
        raise UsageError(damaged(path, error)) from error


def damaged(path: str | os.PathLike, why: str | Exception) -> str:
    """Returns what is said of a file that cannot be read.

    A folder with a summary or a config is made as a whole, any other file alone.
    """
    path = pathlib.Path(path)
    whole = path.name == "config.json" or (path.parent / "summary.json").exists()
    return (
        f"Could not read {path} ({one_line(why)}): it is missing or damaged. "
        f"Delete {path.parent if whole else path} to make it again."
    )


def _array(content: bytes) -> np.ndarray:
    """Returns the array in an .npy file."""
    file = io.BytesIO(content)
    header = {
        (1, 0): np.lib.format.read_array_header_1_0,
        (2, 0): np.lib.format.read_array_header_2_0,
    }[np.lib.format.read_magic(file)]
    shape, _, dtype = header(file)
    # Before anything of that size is made; of objects it is not known.
    if not dtype.hasobject and math.prod(shape) * dtype.itemsize != len(content) - file.tell():
        raise ValueError(f"not an array of shape {shape}")
    file.seek(0)
    return np.lib.format.read_array(file, allow_pickle=False)


def _refuse_other(path: pathlib.Path, replaces: str) -> None:
    if path.name in ("", ".."):
        raise UsageError(f"Expected the name of a file or folder. Received: {str(path)!r}.")
    foreign = path.exists() and not path.is_file() and not path.is_dir()
    if path.is_dir() and any(path.iterdir()):
        foreign = not replaces or not (path / replaces).exists()
    if foreign:
        raise UsageError(
            "Expected a new name, or one of what may be replaced. "
            f"Received: {path}, which is or holds something else. Choose another name."
        )


@contextlib.contextmanager
def _temporary_folder(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """Makes a folder beside `path` and removes it."""
    with errors_of(path):
        folder, file = _locked_folder(path)
    try:
        yield folder
    finally:
        _remove(folder, path)
        os.close(file)


def _locked_folder(path: pathlib.Path) -> tuple[pathlib.Path, int]:
    """Makes a folder that other processes can tell from what a killed one has left."""
    while True:
        folder = pathlib.Path(tempfile.mkdtemp(PARTIAL, f".{path.name}.", path.parent))
        with contextlib.suppress(FileNotFoundError):  # taken for such a thing before it is locked
            file = os.open(folder, os.O_RDONLY)
            # Where folders cannot be locked, none is removed either.
            with contextlib.suppress(OSError):
                try_lock(file)
            if folder.exists():
                return folder, file
            os.close(file)


def _remove_leftovers(path: pathlib.Path) -> None:
    """Removes what killed processes have left when they wrote to `path`."""
    for folder in path.parent.glob(f".{glob.escape(path.name)}.????????{PARTIAL}"):
        with contextlib.suppress(OSError):
            file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
            try:
                if try_lock(file):
                    _remove(folder, path)
            finally:
                os.close(file)


def _remove(folder: pathlib.Path, path: pathlib.Path) -> None:
    """Removes a temporary folder, but for an old `path` that nothing has taken the place of."""
    replaced = _replaced(folder, path)
    if os.path.lexists(replaced) and not os.path.lexists(path):
        replaced.rename(path)
    shutil.rmtree(folder, ignore_errors=True)


def _replaced(folder: pathlib.Path, path: pathlib.Path) -> pathlib.Path:
    return folder / f"{path.name}.replaced"


def _move(partial: pathlib.Path, path: pathlib.Path) -> None:
    """Moves a file or folder to its place; what was there comes into the temporary folder."""
    folders = [p for p in (partial, path) if p.is_dir() and not p.is_symlink()]
    if not folders or not os.path.lexists(path):
        os.replace(partial, path)
        return
    try:
        _exchange(partial, path)
    except OSError:
        # Not every file system can. Killed between the two, the next writer puts it back.
        path.rename(_replaced(partial.parent, path))
        partial.rename(path)


def _exchange(one: pathlib.Path, other: pathlib.Path) -> None:
    """Exchanges two files or folders in one step.

    Raises:
        OSError: if the system or the file system cannot do that.
    """
    rename = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    names = (_AT_FDCWD, os.fsencode(one), _AT_FDCWD, os.fsencode(other))
    if rename is None or rename(*names, ctypes.c_uint(_RENAME_EXCHANGE)) != 0:
        raise OSError(ctypes.get_errno() or errno.ENOSYS, "renameat2", str(other))


def _flush_all(path: pathlib.Path) -> None:
    """Flushes a file, or a folder and all that is in it, to the disk."""
    for part in path.rglob("*"):
        if not part.is_symlink():
            _flush(part)
    _flush(path)


def _flush(path: pathlib.Path) -> None:
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)
