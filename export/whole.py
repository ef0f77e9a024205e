"""Files and folders that appear under their name only when they are whole."""

import contextlib
import os
import pathlib
import shutil
import tempfile
from collections.abc import Iterator

from lth_tf.errors import UsageError
from lth_tf.files import errors_of


@contextlib.contextmanager
def written_whole(path: str | os.PathLike) -> Iterator[pathlib.Path]:
    """Gives a path to write to and renames it to `path` when the block succeeds.

    The path given lies in a temporary folder beside `path` and has its name. If the
    block fails, `path` stays what it was and nothing else is left behind.

    Args:
        path: file or SavedModel folder to write; what is there is replaced.

    Raises:
        UsageError: if the folder cannot be written to, or `path` is a folder that
            holds something else.
        RunError: if the disk is full.
    """
    path = pathlib.Path(path)
    missing = [folder for folder in path.parents if not folder.exists()]
    made = None
    try:
        with errors_of(path):
            _refuse_other_folder(path)
            path.parent.mkdir(parents=True, exist_ok=True)
            made = pathlib.Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
            partial = made / path.name
            yield partial
            if path.exists():
                path.rename(made / "replaced")
            partial.rename(path)
    except BaseException:
        _remove(made, missing)
        raise
    shutil.rmtree(made)


def bytes_on_disk(path: str | os.PathLike) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    return sum(file.stat().st_size for file in files_of(path))


def files_of(path: str | os.PathLike) -> list[pathlib.Path]:
    """Returns a file, or all files in a folder, sorted."""
    path = pathlib.Path(path)
    return sorted(p for p in path.rglob("*") if p.is_file()) if path.is_dir() else [path]


def _refuse_other_folder(path: pathlib.Path) -> None:
    if path.is_dir() and any(path.iterdir()) and not (path / "saved_model.pb").exists():
        raise UsageError(
            f"Expected a new name, a file or a SavedModel to replace. Received: {path}, a folder "
            "that holds something else. Choose another name."
        )


def _remove(made: pathlib.Path | None, missing: list[pathlib.Path]) -> None:
    """Removes the temporary folder and the folders that were made for it."""
    if made is not None:
        shutil.rmtree(made, ignore_errors=True)
    for folder in missing:
        with contextlib.suppress(OSError):
            folder.rmdir()
