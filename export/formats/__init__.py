"""The file formats, one a file; each registers itself and nothing else names it."""

import pathlib

from lth_tf.errors import UsageError
from lth_tf.registry import Registry

from .base import Format, Runner, Runtime, Stored, WriteOptions

FORMATS = Registry("format", package=__name__)

register = FORMATS.register


def format_of(path: pathlib.Path) -> Format:
    """Returns the format of a file or folder.

    Raises:
        UsageError: if there is no such file or it is of none.
    """
    known = [FORMATS.get(name) for name in FORMATS.names()]
    for found in known:
        if found.recognizes(path):
            return found
    raise UsageError(
        f"Expected a file of one of the formats {', '.join(f.name for f in known)}. "
        f"Received: path={str(path)!r}."
    )
