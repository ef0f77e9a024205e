"""Runs the analyses over runs, level by level, so that each file is read once."""

import functools
import itertools
import math
import statistics
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from lth_tf.analysis.base import ALL, Analysis, Level, Row, Subject
from lth_tf.errors import RunError, UsageError, one_line

Looked = Callable[[Level], None]

_ALIKE = 0.05


def survey(
    subjects: Sequence[Subject],
    analyses: Mapping[str, Analysis],
    left_out: list[str] | None = None,
    looked: Looked = lambda level: None,
) -> dict[str, list[Row]]:
    """Returns name of an analysis -> its rows of all runs.

    Every level is given to `of_level`. Pairs are the first run of each series with the others of it
    (other seeds), and the runs of the first series with those of the others (same seed); of both
    the levels whose densities are alike within 5 %.

    Args:
        subjects: the runs.
        analyses: name -> analysis.
        left_out: gets a line for whatever cannot be analysed, e.g. a damaged level; None raises.
        looked: is called when a level of a run, or of a pair of runs, is done.

    Raises:
        UsageError: if a file is missing or damaged, or a run is none for an analysis, and
            `left_out` is None.
        RunError: if a training fails, and `left_out` is None.

    Example::

        subject = Subject(lth_tf.RunDir("runs/lenet/default/seed_0"))
        rows = survey([subject], {"signs": Signs()})["signs"]
    """
    found: dict[str, list[Row]] = {name: [] for name in analyses}
    for subject in subjects:
        for level in subject.levels():
            for name, analysis in analyses.items():
                found[name] += _rows(functools.partial(analysis.of_level, level), level, left_out)
            looked(level)
    paired = {
        name: analysis
        for name, analysis in analyses.items()
        if type(analysis).of_pair is not Analysis.of_pair
    }
    for first, second in pairs(subjects) if paired else ():
        for one, other in _common(first, second):
            for name, analysis in paired.items():
                make = functools.partial(analysis.of_pair, one, other)
                found[name] += _rows(make, other, left_out)
            looked(other)
    return found


def pairs(subjects: Sequence[Subject]) -> list[tuple[Subject, Subject]]:
    """Returns which runs are compared: see `survey`."""
    series: dict[str, list[Subject]] = {}
    for subject in subjects:
        series.setdefault(subject.series, []).append(subject)
    seeds = [(group[0], other) for group in series.values() for other in group[1:]]
    first, *others = series.values()
    return seeds + [
        (one, other)
        for group in others
        for one, other in itertools.product(first, group)
        if one.seed == other.seed
    ]


def table_rows(analysis: Analysis, rows: Iterable[Row]) -> list[Row]:
    """Returns the rows of an analysis's table: means of its columns, one for each of its keys.

    Args:
        analysis: says which.
        rows: of all layers or of each; "layer" as it is where it is a key, else those of `ALL`.
    """
    groups: dict[tuple, list[Row]] = {}
    for row in rows:
        if "layer" in analysis.keys or row["layer"] == ALL:
            groups.setdefault(tuple(row[key] for key in analysis.keys), []).append(row)
    return [
        dict(zip(analysis.keys, key, strict=True))
        | {column: _mean([row[column] for row in group]) for column in analysis.columns}
        for key, group in groups.items()
    ]


def _mean(values: Sequence[float]) -> float:
    known = [value for value in values if not math.isnan(value)]
    return statistics.fmean(known) if known else math.nan


def _common(first: Subject, second: Subject) -> Iterator[tuple[Level, Level]]:
    """Yields the levels of two runs that have one density: the nearest ones."""
    sizes = {
        stage.level: first.run.summary(stage)["density"]
        for stage in first.run.finished()
        if not stage.control
    }
    for other in second.levels():
        density = second.run.summary(other.stage)["density"]
        number = min(sizes, key=lambda level: abs(sizes[level] - density))
        if abs(sizes[number] - density) <= _ALIKE * density:
            yield Level(first, number), other


def _rows(make: Callable[[], Iterable[Row]], level: Level, left_out: list[str] | None) -> list[Row]:
    try:
        try:
            return list(make())
        except UsageError:
            raise
        except (KeyError, TypeError, ValueError) as error:
            run = level.subject.run.path
            raise UsageError(
                f"Expected a run of this version. Received: {run}, {level.stage} "
                f"({one_line(error)})."
            ) from error
    except (UsageError, RunError) as error:
        if left_out is None:
            raise
        if str(error) not in left_out:
            left_out.append(str(error))
        return []
