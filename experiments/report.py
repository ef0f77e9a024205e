"""Draws the paper's figures from run directories.

    python -m experiments.report runs/lenet/default
    python -m experiments.report runs/conv2/default runs/conv2/strategy=oneshot --output_dir=figures

Each argument is a run directory or a folder with run directories below it. Trials of
one configuration become one curve: the mean, with a band from the smallest to the largest.
Writes an HTML page that needs no network, a PNG file a figure and the numbers as CSV. The page
ends with what the tickets are, as far as masks and weights tell; experiments.analyze has more
of that, as pictures and numbers too.
"""

import dataclasses
import os
import pathlib
import sys

from lth_tf.cli import flags, program
from lth_tf.errors import UsageError
from lth_tf.files import write_bytes
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option
from lth_tf.runs.rows import Row

with lazy_imports():
    from lth_tf.runs import provenance
    from lth_tf.tickets import verdict_text

    from . import analyses, figures, page, results, summary
    from .claims import catalogue
    from .claims import claim as claims
    from .claims import drawn as claims_drawn
    from .figures import picture


@dataclasses.dataclass(frozen=True)
class ReportOptions(Options):
    """What a report shows and where it goes."""

    output_dir: str = option("", "Folder for the files. Default: report/ in the first folder.")
    densities: tuple[float, ...] = option(
        (100.0, 51.3, 21.1, 7.0, 3.6, 1.9),
        "Percentages remaining, comma-separated, whose accuracy curves to show.",
    )
    at_iterations: tuple[int, ...] = option(
        (), "Iterations to show the accuracy at. Default: a third, two thirds, all of them."
    )

    analyses: bool = option(
        True, "Also show what the tickets are: figures from masks and weights. False is faster."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.densities or any(not 0 < density <= 100 for density in self.densities):
            raise UsageError(
                "Expected densities in (0, 100], percentages of the weights. "
                f"Received: densities={','.join(f'{d:g}' for d in self.densities)}."
            )
        if any(iteration < 0 for iteration in self.at_iterations):
            raise UsageError(
                "Expected at_iterations of at least 0. "
                f"Received: at_iterations={','.join(map(str, self.at_iterations))}."
            )


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, ReportOptions(), positional="RUN_DIR")
    if parsed is None:
        return
    options, folders = parsed
    if not folders:
        raise UsageError("Expected at least one RUN_DIR. Received: none. --help shows how.")
    runs = _found(folders)
    outcomes = summary.outcomes(runs)
    for file in _write(runs, outcomes, folders, options):
        print(file)
    for run in runs:
        print(f"\n{run.directory.path}\n{results.outcome(run.directory)}")
    for outcome in outcomes:
        if outcome.seeds > 1:
            print(f"\n{outcome.network}, {outcome.series}, {outcome.seeds} seeds")
            print(verdict_text.told(outcome.verdict, outcome.what))


def report(folders: list[str], options: ReportOptions | None = None) -> list[pathlib.Path]:
    """Writes a report and returns the files, the page first.

    Args:
        folders: run directories, or folders with run directories below them.
        options: what to show.

    Raises:
        UsageError: if a folder holds no finished run that can be read, or the output folder
            cannot be written to.
    """
    runs = _found(folders)
    return _write(runs, summary.outcomes(runs), folders, options or ReportOptions())


def _found(folders: list[str]) -> list["results.Run"]:
    left_out: list[UsageError] = []
    runs = results.find_runs(folders, left_out)
    for error in left_out:
        print(f"Left out, a damaged run. {error}", file=sys.stderr)
    return runs


def _write(
    runs: list["results.Run"],
    outcomes: list["summary.Outcome"],
    folders: list[str],
    options: ReportOptions,
) -> list[pathlib.Path]:
    numbers = _numbers(runs, options)
    judged = claims.judge(catalogue.CLAIMS, runs)
    pictures = _figures(runs, numbers, judged)
    output = pathlib.Path(options.output_dir or pathlib.Path(folders[0]) / "report")
    files = [output / "report.html"]
    content = page.render(_title(runs), outcomes, _notes(runs), pictures, numbers.levels, judged)
    write_bytes(files[0], content.encode())
    for figure in pictures:
        # A picture takes a second; those of analyses are `analyze`'s.
        if figure.name not in numbers.analyses:
            files.append(output / f"{figure.name}.png")
            write_bytes(files[-1], picture.png(figure))
    for name, rows in (("levels", numbers.levels), ("curves", numbers.curves)):
        if rows:
            files.append(output / f"{name}.csv")
            results.write_csv(files[-1], rows)
    return files


def drawn(
    *folders: str | os.PathLike, options: ReportOptions | None = None
) -> dict[str, "figures.Figure"]:
    """Returns the figures of a report by their names; a notebook shows them.

    Args:
        *folders: run directories, or folders with run directories below them.
        options: what to show.

    Raises:
        UsageError: if a folder holds no finished run, or a damaged one.

    Example::

        drawn("runs/lenet")["tickets"]
    """
    runs = results.find_runs(folders)
    judged = claims.judge(catalogue.CLAIMS, runs)
    found = _figures(runs, _numbers(runs, options or ReportOptions()), judged)
    return {figure.name: figure for figure in found}


def _numbers(runs: list["results.Run"], options: ReportOptions) -> "figures.Numbers":
    levels = results.level_rows(runs)
    last = max(row["iterations"] for row in levels)
    iterations = options.at_iterations or (last // 3, 2 * last // 3, last)
    return figures.Numbers(
        levels,
        results.curve_rows(runs),
        list(options.densities),
        list(iterations),
        _analyses(runs) if options.analyses else {},
    )


def _analyses(runs: list["results.Run"]) -> dict[str, list[Row]]:
    left_out: list[str] = []
    found = analyses.found([analyses.subject(run) for run in runs], analyses.of_files(), left_out)
    for line in left_out:
        print(f"Left out of figures. {line}", file=sys.stderr)
    return found


def _figures(
    runs: list["results.Run"], numbers: "figures.Numbers", judged: list["claims.Judged"]
) -> list["figures.Figure"]:
    of_claims = claims_drawn.figure(judged)
    return figures.figures(numbers, _title(runs)) + ([of_claims] if of_claims else [])


def _title(runs: list) -> str:
    names = sorted({run.network for run in runs})
    return "Lottery tickets: " + ", ".join(names)


def _notes(runs: list) -> list[str]:
    notes = []
    for run in runs:
        about = run.directory.provenance()
        judged = getattr(run.config, "judged_on", "test data")
        notes.append(
            f"{run.experiment}: {run.series('')}, seed {run.config.seed} "
            f"({provenance.described(about)}). "
            + results.outcome(run.directory).partition("\n")[0]
            + ("" if judged == "test data" else f" All its accuracies are those on the {judged}.")
        )
    return notes


if __name__ == "__main__":
    main()
