"""How a network compares with the dense one, and what of it may be chance.

Two networks that answer the same test examples differ in some of them by chance alone.
A difference inside that sampling error (95 % of such differences) is none. No Keras is
needed here: reports judge finished runs with it.
"""

import dataclasses
import fractions
import math
from collections.abc import Iterable, Sequence
from typing import Self

import numpy as np

_Z = 1.96  # 95 % of a normal distribution are within so many standard deviations

BETTER, AS_GOOD, WORSE = "better", "as good", "worse"


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A network's metric against that of the dense one.

    Attributes:
        difference: positive if the network is better than the dense one; of accuracies a
            fraction, of other metrics in their unit. With several seeds the mean.
        error: differences up to it, either way, may be chance; None if that is not known.
        basis: what the error follows from: "paired" (label by label), "unpaired" (two
            accuracies of so many labels), "given" (a tolerance that was asked for), or
            "unknown".
        labels: how many labels were judged by; None if that is not known.
        smallest: the smallest difference of a seed.
        largest: the largest.
        seeds: number of seeds.
    """

    difference: float
    error: float | None
    basis: str
    labels: int | None = None
    smallest: float = math.nan
    largest: float = math.nan
    seeds: int = 1

    def __post_init__(self) -> None:
        if self.seeds == 1:
            object.__setattr__(self, "smallest", self.difference)
            object.__setattr__(self, "largest", self.difference)

    @property
    def word(self) -> str:
        """What it is in a word: "better", "as good" or "worse" than the dense network.

        Better is only what is so beyond the error, and with every seed; of several seeds that
        are all below the dense network none is as good.
        """
        error = self.error or 0.0
        all_below = self.seeds > 1 and self.basis != "given" and self.largest < 0
        if all_below or not self.difference >= -error:
            return WORSE
        beyond = self.error is not None and self.difference > error and self.smallest > 0
        return BETTER if beyond else AS_GOOD

    def within(self, tolerance: float) -> Self:
        """Returns the comparison with a tolerance in place of the sampling error."""
        return dataclasses.replace(self, error=tolerance, basis="given")


def sampling_error(accuracy: float, labels: int) -> float:
    """Returns how far an accuracy measured on so many labels may be off by chance.

    Example:
    >>> round(sampling_error(0.1, 360), 3)
    0.034
    """
    return 1 / labels + _Z * math.sqrt(accuracy * (1 - accuracy) / labels)


def paired(network: np.ndarray, dense: np.ndarray) -> Comparison:
    """Compares two networks label by label.

    Where both are right or both are wrong says nothing; of the n labels that one alone
    predicts, chance would give each network half: McNemar's test, with Edwards's correction
    for whole numbers, finds a difference if it is more than 1 + 1.96 sqrt(n) labels.

    Args:
        network: bool [labels], which labels it predicts.
        dense: the same of the dense network.

    Source:
        McNemar 1947, Psychometrika 12; Edwards 1948, Psychometrika 13; Dietterich 1998,
        Neural Computation 10 (for two classifiers trained once).

    Example:
    >>> dense = np.arange(100) < 90
    >>> paired(np.arange(100) < 95, dense).word, paired(np.arange(100) < 96, dense).word
    ('as good', 'better')
    """
    ours = int(np.count_nonzero(network & ~dense))
    theirs = int(np.count_nonzero(dense & ~network))
    error = (1 + _Z * math.sqrt(ours + theirs)) / dense.size
    return Comparison((ours - theirs) / dense.size, error, "paired", dense.size)


def unpaired(network: float, dense: float, labels: int) -> Comparison:
    """Compares two accuracies of which no more is known; they need a larger difference.

    Args:
        network: accuracy as a fraction.
        dense: that of the dense network.
        labels: number of labels that each was measured on.

    Example:
    >>> unpaired(0.97, 0.96, labels=10_000).word, unpaired(0.97, 0.96, labels=400).word
    ('better', 'as good')
    """
    variance = sum(share * (1 - share) for share in (network, dense)) / labels
    error = 1 / labels + _Z * math.sqrt(max(variance, 0.0))
    return Comparison(network - dense, error, "unpaired", labels)


def number_of_labels(accuracies: Iterable[float]) -> int | None:
    """Returns how many labels accuracies are fractions of, or a divisor of it; None if unknown.

    A divisor makes sampling errors larger than they are, never smaller.

    Args:
        accuracies: quotients of whole numbers, in double precision.

    Example:
    >>> number_of_labels([349 / 360, 350 / 360, 347 / 360])
    360
    """
    number = 1
    for accuracy in accuracies:
        share = fractions.Fraction(accuracy).limit_denominator(10_000_000)
        if not math.isclose(float(share), accuracy, rel_tol=1e-14, abs_tol=1e-15):
            return None
        number = math.lcm(number, share.denominator)
        if number > 10_000_000:
            return None
    return number if number > 1 else None


def over_seeds(comparisons: Sequence[Comparison]) -> Comparison:
    """Returns the comparisons of several seeds as one: the means, the smallest and the largest.

    Seeds share their test set, so its sampling error does not shrink with their number.
    """
    if len(comparisons) == 1:
        return comparisons[0]
    differences = [c.difference for c in comparisons]
    errors = [c.error for c in comparisons if c.error is not None]
    known = len(errors) == len(comparisons)
    labels = {c.labels for c in comparisons}
    bases = {c.basis for c in comparisons}
    return Comparison(
        difference=sum(differences) / len(differences),
        error=sum(errors) / len(errors) if known else None,
        basis="unknown" if not known else " and ".join(sorted(bases)),
        labels=labels.pop() if len(labels) == 1 else None,
        smallest=min(differences),
        largest=max(differences),
        seeds=len(comparisons),
    )
