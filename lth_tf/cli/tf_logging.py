"""Lets a program's own output be all that its user sees."""

import contextlib
import importlib
import os
import sys
import tempfile
from collections.abc import Iterator

from lth_tf.lazy import lazy_imports

with lazy_imports():
    import tensorflow as tf


def import_tensorflow() -> None:
    """Imports TensorFlow without the notes that it logs before its log level is read."""
    with held_back_stderr():
        importlib.import_module("tensorflow")
    # Its warnings are for those who write TensorFlow code, e.g. on how often it traced.
    tf.get_logger().setLevel("ERROR")


@contextlib.contextmanager
def held_back_stderr() -> Iterator[None]:
    """Drops what is written to stderr, unless the block fails."""
    sys.stderr.flush()
    real = os.dup(2)
    with tempfile.TemporaryFile() as held:
        os.dup2(held.fileno(), 2)
        try:
            yield
        except BaseException:
            os.dup2(real, 2)
            held.seek(0)
            os.write(2, held.read())
            raise
        finally:
            os.dup2(real, 2)
            os.close(real)
