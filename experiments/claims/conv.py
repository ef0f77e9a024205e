"""Claims on Conv-2, Conv-4 and Conv-6 and CIFAR-10: section 3, Figures 5, 6 and 13."""

import dataclasses

from .claim import Claim
from .measures import (
    EARLY,
    TRAINING,
    at_extreme,
    control,
    dense,
    difference,
    points,
    ticket,
    times_sooner,
)
from .trained import Needed


@dataclasses.dataclass(frozen=True)
class _Numbers:
    """What the paper says of a network: sizes in percent, times, points."""

    network: str
    fastest: float
    times: float
    best: float
    gain: float
    dropout: float
    dropout_gain: float


_PAPER = (
    _Numbers("conv2", 8.8, 3.5, 4.6, 3.4, dropout=2.1, dropout_gain=2.3),
    _Numbers("conv4", 9.2, 3.5, 11.1, 3.5, dropout=3.0, dropout_gain=4.6),
    _Numbers("conv6", 15.1, 2.5, 26.4, 3.3, dropout=2.4, dropout_gain=4.7),
)


def _of_tickets(paper: _Numbers) -> list[Claim]:
    """Returns what is claimed of tickets beside the dense network."""
    network = paper.network
    tickets = {"tickets": Needed(network)}
    text = "section 3, Figure 5"
    return [
        Claim(
            name=f"{network}_sooner",
            says=f"{paper.fastest:g} %: sooner than dense",
            source=text,
            unit="x",
            paper=paper.times,
            bar=round(paper.times**0.5, 2),
            needs=tickets,
            measure=times_sooner(ticket(paper.fastest), dense()),
        ),
        Claim(
            name=f"{network}_accurate",
            says=f"{paper.best:g} %: better than dense",
            source=text,
            unit="points",
            paper=paper.gain,
            bar=paper.gain / 2,
            needs=tickets,
            measure=points(EARLY, ticket(paper.best), dense()),
        ),
        Claim(
            name=f"{network}_above",
            says="100 to 2 %: least above dense",
            source=text,
            unit="points",
            paper=None,
            bar=0,
            needs=tickets,
            measure=at_extreme(difference(EARLY), min, high=99, low=2.2),
        ),
    ]


def _of_reinits(paper: _Numbers) -> list[Claim]:
    """Returns what is claimed of tickets beside their masks on new weights."""
    network = paper.network
    reinits = {"tickets": Needed(network, more={"reinits": 3})}
    text = "section 3, Figure 5"
    return [
        Claim(
            name=f"{network}_reinit",
            says=f"{paper.fastest:g} %: better than reinit",
            source=text,
            unit="points",
            paper=None,
            bar=0,
            needs=reinits,
            measure=points(EARLY, ticket(paper.fastest), control("reinit", paper.fastest)),
        ),
        Claim(
            name=f"{network}_reinit_slower",
            says=f"{paper.fastest:g} %: sooner than reinit",
            source=text,
            unit="x",
            paper=None,
            bar=1,
            needs=reinits,
            measure=times_sooner(ticket(paper.fastest), control("reinit", paper.fastest)),
        ),
    ]


def _of_training(paper: _Numbers) -> list[Claim]:
    """Returns what is claimed of the accuracy in training and of dropout."""
    network = paper.network
    dropout = {"tickets": Needed(network, preset="dropout")}
    return [
        Claim(
            name=f"{network}_training",
            says="100 to 2 %: training accuracy",
            source="section 3, Figure 13",
            unit="%",
            paper=100,
            bar=99.5,
            needs={"tickets": Needed(network)},
            measure=at_extreme(lambda one, _: one[TRAINING], min, high=100, low=2.2),
        ),
        Claim(
            name=f"{network}_dropout",
            says="dropout, dense: above without",
            source="section 3, Figure 6",
            unit="points",
            paper=paper.dropout,
            bar=paper.dropout / 2,
            needs={"tickets": Needed(network), "dropout": dropout["tickets"]},
            measure=points(EARLY, dense("dropout"), dense()),
        ),
        Claim(
            name=f"{network}_dropout_gain",
            says="dropout, best: above dense",
            source="section 3, Figure 6",
            unit="points",
            paper=paper.dropout_gain,
            bar=paper.dropout_gain / 2,
            needs=dropout,
            measure=at_extreme(difference(EARLY), max, high=99, low=paper.fastest),
        ),
    ]


CLAIMS = tuple(
    claim
    for paper in _PAPER
    for group in (_of_tickets, _of_reinits, _of_training)
    for claim in group(paper)
)
