"""Memory that a trial must give back, for the next to have it."""

import contextlib
from collections.abc import Iterator

from tensorflow.python.framework import ops


@contextlib.contextmanager
def released_functions() -> Iterator[None]:
    """Releases the functions that were traced in the block once nobody else has them.

    TensorFlow enters a gradient for every function it traces into a table that only
    grows, and with it all that the function has captured: data, weights and optimizer
    slots, about 80 MB for each training of Conv-2. There is no public way to leave the
    table; a version of TensorFlow that has another one keeps the memory.
    """
    table = getattr(ops.gradient_registry, "_registry", {})
    before = set(table)
    try:
        yield
    finally:
        for name in set(table) - before:
            del table[name]
