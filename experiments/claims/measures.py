"""How the numbers of claims are computed: of points, which are trainings of one seed."""

import math
import statistics
from collections.abc import Callable, Mapping

from .trained import MissingError, Point, Trained

# Name of what a claim needs -> what was trained with one seed.
Seed = Mapping[str, Trained]
Values = dict[int, float]
Measure = Callable[[Mapping[int, Seed]], Values]
Place = Callable[[Seed], Point]

EARLY, FINAL, TRAINING = "early_stop_accuracy", "final_accuracy", "train_accuracy"
TICKETS = "tickets"


def dense(need: str = TICKETS) -> Place:
    """Returns the dense network's place."""
    return lambda seed: seed[need].dense


def ticket(percent: float, need: str = TICKETS) -> Place:
    """Returns the place of the ticket that keeps a percentage of the weights."""
    return lambda seed: seed[need].ticket(percent)


def control(kind: str, percent: float, need: str = TICKETS) -> Place:
    """Returns the place of a level's controls, their mean."""
    return lambda seed: seed[need].control(kind, percent)


def points(field: str, one: Place, other: Place) -> Measure:
    """Measures how much more accurate one is than the other, in points."""
    return each(lambda seed: one(seed)[field] - other(seed)[field])


def percent(field: str, place: Place) -> Measure:
    """Measures an accuracy in percent."""
    return each(lambda seed: place(seed)[field])


def sooner(one: Place, other: Place) -> Measure:
    """Measures how many percent sooner one stops early than the other."""
    return each(lambda seed: percent_sooner(one(seed), other(seed)))


def times_sooner(one: Place, other: Place) -> Measure:
    """Measures how many times sooner one stops early than the other."""
    return each(lambda seed: _stop(other(seed)) / _stop(one(seed)))


def each(number: Callable[[Seed], float]) -> Measure:
    """Returns the measure that a number of one seed is; seeds without it are left out.

    Raises:
        MissingError: by the measure, if no seed has it.
    """

    def measure(seeds: Mapping[int, Seed]) -> Values:
        found: Values = {}
        missing = MissingError("a finished level")
        for name, seed in seeds.items():
            try:
                found[name] = _known(number(seed))
            except MissingError as error:
                missing = error
        if not found:
            raise missing
        return found

    return measure


def at_extreme(
    compare: Callable[[Point, Point], float],
    pick: Callable[..., int],
    high: float,
    low: float,
    need: str = TICKETS,
) -> Measure:
    """Compares tickets with their dense network where the mean of the seeds is extreme.

    Args:
        compare: returns a number of a ticket and the dense network.
        pick: max or min.
        high: percentage of the weights that levels have at most.
        low: at least; seeds that have not come that far are left out.
        need: the runs.
    """

    def measure(seeds: Mapping[int, Seed]) -> Values:
        def of_seed(seed: Seed) -> dict[int, float]:
            tickets = seed[need].tickets(high, low)
            return {n: _known(compare(t, seed[need].dense)) for n, t in tickets.items()}

        found: dict[int, dict[int, float]] = {}
        missing = MissingError("a finished level")
        for name, seed in seeds.items():
            try:
                found[name] = of_seed(seed)
            except MissingError as error:
                missing = error
        common = set.intersection(*map(set, found.values())) if found else set()
        if not common:
            raise missing
        level = pick(common, key=lambda n: statistics.fmean(v[n] for v in found.values()))
        return {name: numbers[level] for name, numbers in found.items()}

    return measure


def smallest(holds: Callable[[Point, Point], bool], low: float, need: str = TICKETS) -> Measure:
    """Measures the percentage of the weights of the smallest ticket of which something holds.

    Args:
        holds: of a ticket and the dense network.
        low: percentage that a run must have come down to, or "the smallest" says nothing.
        need: the runs.
    """

    def of_seed(seed: Seed) -> float:
        tickets, reference = seed[need].tickets(99.99, low), seed[need].dense
        return min((t["remaining"] for t in tickets.values() if holds(t, reference)), default=100.0)

    return each(of_seed)


def difference(field: str) -> Callable[[Point, Point], float]:
    """Returns the comparison by an accuracy, in points."""
    return lambda one, other: one[field] - other[field]


def percent_sooner(one: Point, other: Point) -> float:
    """Compares early-stop iterations: how many percent sooner one is."""
    return 100 * (1 - _stop(one) / _stop(other))


def wins(one: Point, other: Point) -> bool:
    """Returns whether one is at least as accurate as the other and stops early no later."""
    return _known(one[EARLY]) >= _known(other[EARLY]) and _stop(one) <= _stop(other)


def within(field: str, tolerance: float) -> Callable[[Point, Point], bool]:
    """Returns the test that an accuracy is at most `tolerance` points below another."""
    return lambda one, other: _known(one[field]) >= _known(other[field]) - tolerance


def _known(number: float) -> float:
    """Returns a number, which is NaN where an accuracy was not measured."""
    if not math.isfinite(number):
        raise MissingError("a measured accuracy")
    return number


def _stop(point: Point) -> float:
    return max(point["early_stop_iteration"], 1)
