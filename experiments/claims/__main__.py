"""Judges the paper's claims by runs: reproduced, contradicted, undecided or not run.

    python -m experiments.claims runs
    python -m experiments.claims runs --all --jpeg=cifar10 --output_dir=figures
    python -m experiments.claims --recipe=paper

Each argument is a run directory or a folder with run directories below it. A run counts for a
claim if it has the paper's config, but for its length, prune rates, precision and evaluations:
such runs are called reduced, and how. Prints a table and writes it as CSV, JSON and PNG;
--json prints the JSON instead. --recipe=paper prints the commands that train what every figure
needs, with their cost; `experiments.sweep --recipe=paper` runs them.
The claims, a line of data each: experiments/claims.
"""

import dataclasses
import json
import pathlib
import sys
from collections.abc import Sequence

from lth_tf.cli import flags, program
from lth_tf.errors import UsageError
from lth_tf.files import write_bytes
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option

from . import text
from .catalogue import CLAIMS
from .claim import Judged, judge

with lazy_imports():
    from .. import results
    from ..figures import picture
    from . import drawn, recipe


@dataclasses.dataclass(frozen=True)
class ClaimsOptions(Options):
    """What is printed and where files go."""

    output_dir: str = option("", "Folder for the files. Default: claims/ in the first folder.")
    jpeg: str = option("", "Data sets here that are JPEG copies, comma-separated; named beside.")
    all: bool = option(False, "Also list what was not run.")
    json: bool = option(False, "Print JSON instead of the table.")
    recipe: str = option("", "Print commands instead: paper.", choices=("", "paper"))

    @property
    def copies(self) -> list[str]:
        """The data sets that are JPEG copies."""
        return [name for name in self.jpeg.split(",") if name]


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, ClaimsOptions(), positional="RUN_DIR")
    if parsed is None:
        return
    options, folders = parsed
    if options.recipe:
        print(recipe.text())
        return
    if not folders:
        raise UsageError("Expected at least one RUN_DIR. Received: none. --help shows how.")
    left_out: list[UsageError] = []
    found = judge(CLAIMS, results.find_runs(folders, left_out))
    for error in left_out:
        print(f"Left out, a damaged run. {error}", file=sys.stderr)
    if options.json:
        print(json.dumps(_rows(found, options), indent=1))
        return
    print(text.text(found, options.copies))
    if options.all:
        print(text.not_run(found))
    for file in write(found, pathlib.Path(options.output_dir or f"{folders[0]}/claims"), options):
        print(file)


def write(
    found: Sequence[Judged], folder: pathlib.Path, options: ClaimsOptions
) -> list[pathlib.Path]:
    """Writes what claims came to, and returns the files."""
    rows = _rows(found, options)
    files = [folder / "claims.json", folder / "claims.csv"]
    write_bytes(files[0], json.dumps(rows, indent=1).encode())
    results.write_csv(files[1], rows)
    figure = drawn.figure(found, options.copies)
    if figure is not None:
        files.append(folder / "claims.png")
        write_bytes(files[-1], picture.png(figure))
    return files


def _rows(found: Sequence[Judged], options: ClaimsOptions) -> list[dict[str, object]]:
    rows = []
    for judged in found:
        data = "JPEG" if judged.claim.dataset in options.copies else "exact"
        rows.append({**judged.as_dict(), "data": data if judged.values else None})
    return rows


if __name__ == "__main__":
    main()
