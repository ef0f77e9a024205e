"""What a claim of the paper is, and the rule that judges it.

The rule is fixed before anything is measured. A claim has a bar: half of the effect that the
paper reports (of a ratio its square root, of a size twice it); 0 points or a ratio of 1 where
the paper gives a direction alone; a point below an accuracy that it gives, half a point if that
is 100 %; half a point where it finds no difference (0.2 where it calls it bare). With at least
three seeds the mean has a 95 % confidence interval (Student's t). The claim is

* reproduced if the whole interval is beyond the bar, on the paper's side,
* contradicted if the whole interval is on the other side,
* undecided if the bar is inside it (the spread is too wide), with fewer than three seeds, or if
  a seed's number is not finite; a seed without a measured accuracy does not count,
* not run if no run has the numbers.
"""

import dataclasses
import math
import statistics
from collections.abc import Mapping, Sequence

from ..results import Run
from .measures import Measure, MissingError, Values
from .trained import Needed, Protocol, Shelf

REPRODUCED, CONTRADICTED, UNDECIDED = "reproduced", "contradicted", "undecided"
NOT_RUN = "not run"

SEEDS = 3
"""Fewest seeds that decide; as many as the paper has in its appendices."""

# Two-sided 95 % quantiles of Student's t by degrees of freedom; that of 9 stands for more.
_T = {2: 4.303, 3: 3.182, 4: 2.776, 5: 2.571, 6: 2.447, 7: 2.365, 8: 2.306, 9: 2.262}


@dataclasses.dataclass(frozen=True)
class Claim:
    """A claim of the paper that a number decides.

    Attributes:
        name: for JSON and CSV, e.g. "lenet_sooner".
        says: what the number is, in a few words; `unit` follows them.
        source: where in the paper.
        unit: of the number: "%", "points", "x" (a ratio) or "% left" (a size).
        paper: the paper's number; None where it gives a direction alone.
        bar: what the number must be beyond.
        needs: name -> runs that it is computed from; measures know the names.
        measure: computes it, a number a seed.
        less: True if smaller is the paper's side.
    """

    name: str
    says: str
    source: str
    unit: str
    paper: float | None
    bar: float
    needs: Mapping[str, Needed]
    measure: Measure
    less: bool = False

    @property
    def network(self) -> str:
        """The network that it is of; claims are listed by it."""
        return next(iter(self.needs.values())).network

    @property
    def dataset(self) -> str:
        """The data set that it is of."""
        return next(iter(self.needs.values())).config.dataset


@dataclasses.dataclass(frozen=True)
class Judged:
    """What runs say of a claim.

    Attributes:
        claim: the claim.
        values: seed -> its number; none if it was not run.
        protocol: how the runs differ from the paper's; None if there are none.
        missing: what there is no run of; "" if it was run.
    """

    claim: Claim
    values: Mapping[int, float]
    protocol: Protocol | None
    missing: str = ""

    @property
    def mean(self) -> float:
        """The mean over seeds, NaN without any."""
        return statistics.fmean(self.values.values()) if self.values else math.nan

    @property
    def verdict(self) -> str:
        """What the runs decide, see the module."""
        return verdict(list(self.values.values()), self.claim.bar, self.claim.less)

    def as_dict(self) -> dict[str, object]:
        """Returns the claim and what was found, for JSON and CSV; None where nothing was."""
        numbers = list(self.values.values())
        return {
            "claim": self.claim.name,
            "network": self.claim.network,
            "says": self.claim.says,
            "unit": self.claim.unit,
            "source": self.claim.source,
            "paper": self.claim.paper,
            "bar": self.claim.bar,
            "side": "at most" if self.claim.less else "at least",
            "mean": round(self.mean, 4) if numbers else None,
            "smallest": round(min(numbers), 4) if numbers else None,
            "largest": round(max(numbers), 4) if numbers else None,
            "seeds": " ".join(map(str, self.values)),
            "protocol": self.protocol.word if self.protocol else None,
            "reductions": self.protocol.text if self.protocol else None,
            "verdict": self.verdict,
            "missing": self.missing,
        }


def verdict(values: Sequence[float], bar: float, less: bool = False) -> str:
    """Returns what the numbers of some seeds decide.

    Args:
        values: one a seed.
        bar: what their mean must be beyond.
        less: True if it must be below it.

    Example:
    >>> verdict([30.0, 38.0, 41.0], bar=19), verdict([3.0, 5.0, 4.0], bar=19)
    ('reproduced', 'contradicted')
    >>> verdict([10.0, 20.0, 40.0], bar=19), verdict([30.0, 38.0], bar=19), verdict([], bar=19)
    ('undecided', 'undecided', 'not run')
    """
    if not values:
        return NOT_RUN
    if len(values) < SEEDS or not all(map(math.isfinite, values)):
        return UNDECIDED
    error = _T[min(len(values) - 1, 9)] * statistics.stdev(values) / math.sqrt(len(values))
    beyond = (statistics.fmean(values) - bar) * (-1 if less else 1)
    if abs(beyond) <= error:
        return UNDECIDED
    return REPRODUCED if beyond > 0 else CONTRADICTED


def judge(claims: Sequence[Claim], runs: Sequence[Run]) -> list[Judged]:
    """Returns what runs say of claims.

    Runs of one protocol are never mixed with those of another; the paper's own go first.
    """
    shelf = Shelf(runs)
    return [_judge(claim, shelf) for claim in claims]


def _judge(claim: Claim, shelf: Shelf) -> Judged:
    found = {name: shelf.find(needed) for name, needed in claim.needs.items()}
    missing = next((need.command for n, need in claim.needs.items() if not found[n]), "")
    if missing:
        return Judged(claim, {}, None, missing)
    of_all = set.intersection(*(set(protocols) for protocols in found.values()))
    missing = "runs of one protocol: " + ", ".join(need.command for need in claim.needs.values())
    seeds_of = {
        protocol: set.intersection(*(set(protocols[protocol]) for protocols in found.values()))
        for protocol in of_all
    }
    # The paper's own, then the one of most seeds, then the longest.
    order = sorted(of_all, key=lambda p: (p.word, -len(seeds_of[p]), -p.share, p.text))
    for protocol in order:
        trained = {
            seed: {name: protocols[protocol][seed] for name, protocols in found.items()}
            for seed in sorted(seeds_of[protocol])
        }
        try:
            values: Values = claim.measure(trained)
        except MissingError as error:
            missing = f"{error} of {next(iter(claim.needs.values())).command}"
            continue
        return Judged(claim, values, protocol)
    return Judged(claim, {}, None, missing)
