"""Compares runs: a row for each of their curves, named by what tells them apart.

    python -m experiments.compare runs/lenet/default runs/lenet/strategy=oneshot
    python -m experiments.compare runs/conv2 --csv=conv2.csv

Controls have rows of their own. "% left" are the weights of the smallest winning ticket, "early
stop" its iteration of minimum validation loss beside the dense network's, "accuracy" its test
accuracy there (%; with several seeds the mean, and the smallest and largest). --csv writes
the same numbers, unrounded.
"""

import sys

from lth_tf.cli import flags, program
from lth_tf.errors import UsageError

from . import overview


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, overview.TableOptions(), positional="RUN_DIR")
    if parsed is None:
        return
    options, folders = parsed
    if not folders:
        raise UsageError("Expected at least one RUN_DIR. Received: none. --help shows how.")
    overview.show(
        folders,
        lambda runs: [overview.overview(*g) for g in overview.by_series(runs).items()],
        options,
    )


if __name__ == "__main__":
    main()
