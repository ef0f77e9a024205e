"""Says what the tickets of runs are: masks, weights, and the loss around them.

    python -m experiments.analyze runs/lenet/default
    python -m experiments.analyze runs/lenet/default --analyses=sharpness,barriers --levels=0,7,12
    python -m experiments.analyze runs/lenet/default --analyses=noise --levels=7 --sigmas=1,2

Each argument is a run directory or a folder with run directories below it. Analyses that need only
files and those that evaluate the trained networks on validation data are made by default
(network and data of `model.fit` are known to its own program alone: of its runs only the former).
Those that train tickets again, instability and noise, are made if they are named;
by default at the smallest winning ticket, or the last level. Writes an HTML page that
needs no network and a PNG and a CSV file an analysis; prints a table each. The analyses,
their definitions and sources: lth_tf/analysis, a file each.
"""

import dataclasses
import math
import pathlib
import sys
from collections.abc import Sequence

import tqdm

from lth_tf.analysis import ANALYSES
from lth_tf.analysis.base import FILES, TRAINING, Analysis, Row
from lth_tf.analysis.survey import table_rows
from lth_tf.cli import flags, program, tf_logging
from lth_tf.cli.table import Column, table
from lth_tf.errors import UsageError
from lth_tf.files import write_bytes
from lth_tf.lazy import lazy_imports, require
from lth_tf.options import Options, option

with lazy_imports():
    from . import analyses, figures, page, report, results, summary
    from .figures import picture

_HEADS = {"remaining": "% left"}
_NUMBERS, _NAMES = ("level", "remaining", "sigma"), ("series", "compared")


@dataclasses.dataclass(frozen=True)
class AnalyzeOptions(Options):
    """What is analysed and where it goes."""

    analyses: str = option("", "Names of analyses, comma-separated. Default: all but training.")
    levels: tuple[int, ...] = option((), "Levels to look at, comma-separated. Default: all.")
    output_dir: str = option("", "Folder for the files. Default: analysis/ in the first folder.")
    data_dir: str = option("", "TFDS folder. Default: the one that the run names, if any.")
    options: tuple[Analysis, ...] = option((), "Options of analyses.", part_of=ANALYSES)

    def chosen(self) -> dict[str, Analysis]:
        """Returns name -> analysis that is made.

        Raises:
            UsageError: if there is none of a name.
        """
        given = {type(analysis): analysis for analysis in self.options}
        kinds = {name: ANALYSES.get(name) for name in filter(None, self.analyses.split(","))}
        if not kinds:
            kinds = {n: kind for n, kind in ANALYSES.items().items() if kind.needs != TRAINING}
        return {name: given.get(kind) or kind() for name, kind in kinds.items()}


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, AnalyzeOptions(), positional="RUN_DIR")
    if parsed is None:
        return
    options, folders = parsed
    if not folders:
        raise UsageError("Expected at least one RUN_DIR. Received: none. --help shows how.")
    chosen = options.chosen()
    if any(analysis.needs != FILES for analysis in chosen.values()):
        tf_logging.import_tensorflow()
    for file in analyze(folders, options):
        print(file)


def analyze(folders: list[str], options: AnalyzeOptions | None = None) -> list[pathlib.Path]:
    """Makes analyses, prints a table each, and returns the files, the page first.

    What cannot be analysed, e.g. a damaged level, is left out and named on stderr.

    Args:
        folders: run directories, or folders with run directories below them.
        options: which analyses, and of what.

    Raises:
        UsageError: if a folder holds no finished run, there is no such analysis, nothing can be
            analysed, or the output folder cannot be written to.
        MissingPackage: if what draws is not installed; before anything is trained.
    """
    options = options or AnalyzeOptions()
    require("altair", "vl_convert")
    chosen = options.chosen()
    left_out: list[str] = []
    runs = analyses.readable(folders, left_out)
    found = _found(runs, chosen, options, left_out)
    for line in left_out:
        print(f"Left out. {line}", file=sys.stderr)
    if not any(found.values()):
        raise UsageError(
            f"Expected runs that {', '.join(chosen)} can be made of. Received: {folders[0]}, of "
            "which there is nothing to analyse."
        )
    levels = results.level_rows(runs)
    shown = results.nearest_densities(
        [row for rows in found.values() for row in rows], report.ReportOptions().densities
    )
    for name, analysis in chosen.items():
        print(text(analysis, found[name], None if options.levels else shown))
    output = pathlib.Path(options.output_dir or pathlib.Path(folders[0]) / "analysis")
    drawn = figures.of_analyses(chosen, found, levels, shown, _subject(runs))
    files = [output / "analysis.html"]
    notes = [f"{run.series('')}, seed {run.config.seed}: {run.directory.path}" for run in runs]
    content = page.render("What tickets are", summary.outcomes(runs), notes, drawn, levels)
    write_bytes(files[0], content.encode())
    for figure in drawn:
        files.append(output / f"{figure.name}.png")
        write_bytes(files[-1], picture.png(figure))
    for name, rows in found.items():
        if rows:
            files.append(output / f"{name}.csv")
            results.write_csv(files[-1], rows)
    return files


def text(analysis: Analysis, rows: list[Row], densities: Sequence[float] | None = None) -> str:
    """Returns the table of an analysis below its title.

    Args:
        analysis: says what is in it.
        rows: what it found.
        densities: percentages that are shown; None for all.
    """
    chosen = [row for row in rows if densities is None or row["remaining"] in densities]
    head = [
        Column(_HEADS.get(key, key), left=key not in _NUMBERS, shrink=key in _NAMES)
        for key in analysis.keys
    ]
    head += [Column(title) for title in analysis.columns.values()]
    cells = [[_cell(value) for value in row.values()] for row in table_rows(analysis, chosen)]
    return f"{analysis.title}\n{table(head, cells) if cells else 'nothing to show'}\n"


def _cell(value: str | float) -> str:
    """Returns a value as it is printed.

    Example:
    >>> _cell("fc1"), _cell(0.123456), _cell(235200.0), _cell(float("nan"))
    ('fc1', '0.1235', '235,200', '')
    """
    if isinstance(value, str):
        return value
    if math.isnan(value):
        return ""
    return f"{value:.4g}" if abs(value) < 10_000 else f"{value:,.0f}"


def _found(
    runs: list["results.Run"],
    chosen: dict[str, Analysis],
    options: AnalyzeOptions,
    left_out: list[str],
) -> dict[str, list[Row]]:
    """Returns the rows of each analysis; those that train look at levels of their own."""
    needs_network = any(analysis.needs != FILES for analysis in chosen.values())
    benches = analyses.benches(runs, options.data_dir, left_out) if needs_network else {}
    found: dict[str, list[Row]] = {name: [] for name in chosen}
    with tqdm.tqdm(disable=None, unit=" levels", leave=False) as bar:
        for training in (False, True):
            part = {n: a for n, a in chosen.items() if (a.needs == TRAINING) == training}
            subjects = [
                analyses.subject(
                    run,
                    benches.get(run.directory.path),
                    options.levels or (analyses.smallest(run) if training else None),
                )
                for run in runs
            ]
            if part:
                found |= analyses.found(subjects, part, left_out, lambda level: bar.update())
    return found


def _subject(runs: list["results.Run"]) -> str:
    return ", ".join(sorted({run.network for run in runs}))


if __name__ == "__main__":
    main()
