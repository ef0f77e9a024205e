"""How dense a network is at each step of a training that prunes it."""

import dataclasses
from fractions import Fraction

SCHEDULES = ("polynomial", "constant")


@dataclasses.dataclass(frozen=True)
class Schedule:
    """Densities that fall while a network trains.

    Pruning at step t comes before the t-th batch, the first being 1. "polynomial" prunes at
    `begin`, every `frequency` steps after it, and at `end`, to the density

        final + (initial - final) * (1 - (t - begin) / (end - begin)) ** 3

    "constant" prunes at `begin` alone, to `final`. Densities are exact, of the numbers as they
    are written.

    Attributes:
        begin: first step.
        end: last step, at least `begin`.
        frequency: steps from one pruning to the next.
        initial: fraction of the weights kept at `begin`.
        final: fraction of the weights kept from `end` on.
        kind: "polynomial" or "constant".

    Source:
        Zhu & Gupta 2017, arXiv:1710.01878, section 3; as `PolynomialDecay` and
        `ConstantSparsity` of TensorFlow Model Optimization, whose sparsity is 1 - density and
        which does not prune at an `end` that is no multiple of `frequency` away.

    Example:
    >>> schedule = Schedule(begin=10, end=30, frequency=10, initial=1.0, final=0.2)
    >>> [(step, float(schedule.density(step))) for step in (10, 20, 30)]
    [(10, 1.0), (20, 0.3), (30, 0.2)]
    """

    begin: int
    end: int
    frequency: int
    initial: float
    final: float
    kind: str = "polynomial"

    @property
    def settled(self) -> int:
        """The step from which on the density is the final one."""
        return self.begin if self.kind == "constant" else self.end

    def last_due(self, step: int) -> int | None:
        """Returns the last step of pruning that is not after `step`; None before the first.

        Example:
        >>> schedule = Schedule(begin=10, end=35, frequency=10, initial=1.0, final=0.2)
        >>> [schedule.last_due(step) for step in (9, 10, 34, 35, 99)]
        [None, 10, 30, 35, 35]
        """
        if step < self.begin:
            return None
        if step >= self.settled:
            return self.settled
        return step - (step - self.begin) % self.frequency

    def density(self, step: int) -> Fraction:
        """Returns the fraction of the weights that is kept by a pruning at `step`."""
        initial, final = Fraction(repr(self.initial)), Fraction(repr(self.final))
        if step >= self.settled:
            return final
        left = 1 - Fraction(step - self.begin, self.end - self.begin)
        return final + (initial - final) * left**3


def count(size: int, density: Fraction) -> int:
    """Returns how many of `size` weights a density keeps: to nearest, halves to even, at least 1.

    Example:
    >>> count(15, Fraction(1, 2)), count(25, Fraction(1, 10)), count(3, Fraction(1, 100))
    (8, 2, 1)
    """
    return max(1, round(density * size))
