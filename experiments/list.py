"""Lists runs: a row each, with what their tickets came to over all seeds.

    python -m experiments.list
    python -m experiments.list runs/lenet --csv=runs.csv

"% left" are the weights of the smallest winning ticket, "early stop" its iteration of minimum
validation loss beside the dense network's, "accuracy" its test accuracy there (%; with
several seeds the mean, and the smallest and largest). --csv writes the same numbers, unrounded.
In Python `lth_tf.runs("runs")` has a row for every single training, for pandas.
"""

import dataclasses
import pathlib
import sys

from lth_tf.cli import flags, program
from lth_tf.options import Options, option


@dataclasses.dataclass(frozen=True)
class ListOptions(Options):
    """Where the rows go."""

    csv: str = option("", "CSV file to write them to as well.")


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, ListOptions(), positional="FOLDER")
    if parsed is None:
        return
    options, folders = parsed
    from . import overview, results

    runs = results.find_runs(folders or ["runs"], left_out := [])
    rows = [
        overview.overview(name, [(run, "") for run in group])
        for name, group in overview.by_folder(runs).items()
    ]
    shown = overview.names_from(pathlib.Path(folders[0]), rows) if len(folders) == 1 else rows
    print(overview.text(shown))
    for error in left_out:
        print(f"Left out, a damaged run. {error}", file=sys.stderr)
    if options.csv:
        results.write_csv(pathlib.Path(options.csv), rows)


if __name__ == "__main__":
    main()
