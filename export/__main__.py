"""Writes a winning ticket, or a pruned .keras file, as files that stock runtimes load.

    python -m export --run=runs/lenet/default/seed_0
    python -m export --model=pruned.keras --examples=images.npy --dtype=int8

Every file is verified in the runtimes it is for before it gets its name, and
compared in size and latency with the file of the same kind that makes no use of
the zeros. Latency is that of one example on one thread.
"""

import sys

from lth_tf.cli import flags, program, tf_logging
from lth_tf.lazy import lazy_imports

from .config import ExportOptions

with lazy_imports():
    from . import command


def _work() -> None:
    parsed = flags.parse(sys.argv, __doc__, ExportOptions())
    if parsed is None:
        return
    tf_logging.import_tensorflow()
    command.run(*parsed)


if __name__ == "__main__":
    sys.exit(program.run_main(_work))
