"""Lists runs: a row each, with what their tickets came to over all seeds.

    python -m experiments.list
    python -m experiments.list runs/lenet --csv=runs.csv

"% left" are the weights of the smallest winning ticket, "early stop" its iteration of minimum
validation loss beside the dense network's, "accuracy" its test accuracy there (%; with
several seeds the mean, and the smallest and largest). --csv writes the same numbers, unrounded.
In Python `lth_tf.runs("runs")` has a row for every single training, for pandas.
"""

import sys

from lth_tf.cli import flags, program

from . import overview


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, overview.TableOptions(), positional="FOLDER")
    if parsed is None:
        return
    options, folders = parsed
    overview.show(
        folders or ["runs"],
        lambda runs: [
            overview.overview(name, [(run, "") for run in group])
            for name, group in overview.by_folder(runs).items()
        ],
        options,
    )


if __name__ == "__main__":
    main()
