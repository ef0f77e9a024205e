"""What a search for small networks minimizes, from the numbers of a trial's levels."""

import dataclasses
import pathlib
from collections.abc import Sequence
from typing import Any

ACCURACY = "early_stop_validation_accuracy"

# Accuracies are fractions of whole examples; a bar that is met exactly must not be missed by
# the rounding of a subtraction.
_ROUNDING = 1e-9


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What a trial came to.

    Attributes:
        objective: to be minimized: the density of the smallest level that is accurate
            enough, or 1 plus what the most accurate level lacks.
        accurate: True if a level is accurate enough.
        level: the level that decides the objective; None if none was finished.
        density: fraction of the prunable weights it keeps, or None.
        accuracy: its validation accuracy at its early stop, or None.
    """

    objective: float
    accurate: bool
    level: int | None = None
    density: float | None = None
    accuracy: float | None = None


@dataclasses.dataclass(frozen=True)
class Result:
    """A finished trial of a search.

    Attributes:
        trial: its number, from 0.
        values: name of a config field -> the value it was tried with.
        outcome: what it came to.
        levels: how many levels were trained, the dense one included.
        seconds: time of training of all its levels.
        path: its run directory.
    """

    trial: int
    values: dict[str, Any]
    outcome: Outcome
    levels: int
    seconds: float
    path: pathlib.Path


def judge(summaries: Sequence[dict[str, Any]], reference: float, tolerance: float) -> Outcome:
    """Returns what the finished levels of a trial come to.

    The test set takes no part in it.

    Args:
        summaries: those of a trial's levels, controls left out.
        reference: validation accuracy of the dense network of the search.
        tolerance: validation accuracy a network may be below it, as a fraction.

    Example:
    >>> levels = [{"level": 0, "density": 1.0, "early_stop_validation_accuracy": 0.97},
    ...           {"level": 1, "density": 0.8, "early_stop_validation_accuracy": 0.95}]
    >>> judge(levels, reference=0.96, tolerance=0.01).objective
    0.8
    >>> round(judge(levels, reference=0.99, tolerance=0.01).objective, 3)
    1.01
    """
    bar = reference - tolerance
    if not summaries:
        return Outcome(objective=1 + bar, accurate=False)
    enough = [level for level in summaries if _reaches(level, bar)]
    if enough:
        best = min(enough, key=lambda level: level["density"])
        objective = best["density"]
    else:
        best = max(summaries, key=lambda level: level[ACCURACY])
        objective = 1 + bar - best[ACCURACY]
    return Outcome(objective, bool(enough), best["level"], best["density"], best[ACCURACY])


def out_of_patience(
    summaries: Sequence[dict[str, Any]], reference: float, tolerance: float, patience: int
) -> bool:
    """Returns whether a trial has had enough levels that are not accurate enough.

    That are `patience` levels in a row that are not accurate enough and less accurate
    than the trial's own dense network, so that pruning has begun to hurt. A later level
    might still be: that is the price of not training them all.

    Args:
        summaries: those of the trial's levels so far, the dense one first.
        reference: as in `judge`.
        tolerance: as in `judge`.
        patience: number of levels; 0 never has enough.
    """
    last = summaries[-patience:] if patience else []
    bar = min(reference - tolerance, summaries[0][ACCURACY] if summaries else 0.0)
    return 0 < patience <= len(last) and not any(_reaches(level, bar) for level in last)


def _reaches(summary: dict[str, Any], bar: float) -> bool:
    return summary[ACCURACY] >= bar - _ROUNDING
