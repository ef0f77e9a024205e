"""Run directories: what is kept of an experiment on the disk.

Called, `lth_tf.runs("runs")`, it gives their numbers as rows.
"""

import os
import sys
import types

from lth_tf.lazy import lazy_imports

with lazy_imports():
    from lth_tf.runs import rows as _rows


class _Runs(types.ModuleType):
    """This package: the room's name and that of the function are the same word."""

    def __call__(self, *folders: str | os.PathLike) -> "list[_rows.Row]":
        """Returns a row for every finished training, see `lth_tf.runs.rows.rows`."""
        return _rows.rows(*folders)


sys.modules[__name__].__class__ = _Runs
