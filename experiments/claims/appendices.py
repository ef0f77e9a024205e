"""Claims of the appendices on LeNet: B (resetting), E and F (controls), G (values of training).

Appendix F's figures of weights, 15, 16 and 19 to 24, are those of `experiments.analyze`. Of
appendix G, initial deviations and widths are no flags of the network; of H nothing is here.
"""

import statistics

from .claim import Claim
from .measures import (
    EARLY,
    FINAL,
    Seed,
    control,
    dense,
    each,
    points,
    smallest,
    sooner,
    ticket,
    times_sooner,
    wins,
)
from .trained import Needed

CONTINUED = Needed("lenet", {"start": "continue"})
LEVELS = (3, 7, 9, 12, 15)
_RESET = {
    "tickets": Needed("lenet"),
    "continued": Needed(
        "lenet",
        masks_of=CONTINUED,
        more={"ticket": "runs/lenet/start=continue/seed_0", "level": LEVELS},
    ),
}
_ANATOMY = {
    "tickets": Needed("lenet", more={"reinits": 3, "prunings_at_init": 1, "survivor_reinits": 1})
}
_RANDOM = {"tickets": Needed("lenet", more={"reinits": 3, "random_masks": 3})}


def _noise(sigma: float) -> dict[str, Needed]:
    return {
        "tickets": Needed("lenet", {"noise_sigma": sigma}, more={"noises": 1, "reinits": 1}),
    }


def _rates(optimizer: str, *rates: float) -> dict[str, Needed]:
    """Returns the rate as text -> what is needed; adam's own rate is the default."""
    plain = {} if optimizer == "adam" else {"optimizer": optimizer}
    return {
        f"{rate:g}": Needed("lenet", plain if rate == 0.0012 else {**plain, "learning_rate": rate})
        for rate in rates
    }


def prune_rates(*rates: float) -> dict[str, Needed]:
    """Returns the rate as text -> what is needed; 0.2 is the default."""
    return {
        f"{rate:g}": Needed(
            "lenet",
            {} if rate == 0.2 else {"prune_rate_fc": rate, "prune_rate_output": rate / 2},
        )
        for rate in rates
    }


ADAM = _rates("adam", 0.0012, 0.000025, 0.0002, 0.0004, 0.0008, 0.002, 0.0064)
SGD = _rates("sgd", 0.4, 0.8)
MOMENTUM = _rates("momentum", 0.025, 0.05, 0.1)
PRUNE_RATES = prune_rates(0.2, 0.1, 0.4, 0.6)


def _least_gain(seed: Seed) -> float:
    """Returns by how much the best small ticket is above dense, at the rate where that is least."""
    return min(
        max(trained.ticket(size)[EARLY] for size in (51.3, 21.1, 13.5)) - trained.dense[EARLY]
        for trained in seed.values()
    )


def _slow_over_fast(seed: Seed) -> float:
    """Returns how many times sooner the two fast rates stop early than the other good ones."""
    fast, slow = (
        statistics.fmean(seed[rate].ticket(21.1)["early_stop_iteration"] for rate in rates)
        for rates in (("0.0012", "0.002"), ("0.0002", "0.0004", "0.0008"))
    )
    return slow / fast


def _slow_prune_rates(seed: Seed) -> float:
    """Returns how much better the worse of the low prune rates is than the better of the high."""
    reached = {rate: seed[rate].ticket(7)[EARLY] for rate in ("0.1", "0.2", "0.4", "0.6")}
    return min(reached["0.1"], reached["0.2"]) - max(reached["0.4"], reached["0.6"])


CLAIMS = (
    Claim(
        name="resetting_accurate",
        says="3.6 %: reset above continued",
        source="appendix B, Figure 9",
        unit="points",
        paper=None,
        bar=0,
        needs=_RESET,
        measure=points(EARLY, ticket(3.58), ticket(3.58, "continued")),
    ),
    Claim(
        name="resetting_sooner",
        says="3.6 %: reset before continued",
        source="appendix B, Figure 9",
        unit="x",
        paper=None,
        bar=1,
        needs=_RESET,
        measure=times_sooner(ticket(3.58), ticket(3.58, "continued")),
    ),
    Claim(
        name="reinit_above_random",
        says="7 %: reinit above random mask",
        source="appendix E, Figure 14",
        unit="points",
        paper=None,
        bar=0,
        needs=_RANDOM,
        measure=points(FINAL, control("reinit", 6.95), control("random", 6.95)),
    ),
    Claim(
        name="survivors",
        says="7 %: above survivors' values",
        source="appendix F.3, Figure 17",
        unit="points",
        paper=None,
        bar=0,
        needs=_ANATOMY,
        measure=points(EARLY, ticket(6.95), control("survivors", 6.95)),
    ),
    Claim(
        name="at_iteration_0",
        says="7 %: reinit above pruned at 0",
        source="appendix F.4, Figure 18",
        unit="points",
        paper=None,
        bar=0,
        needs=_ANATOMY,
        measure=points(EARLY, control("reinit", 6.95), control("at_iteration_0", 6.95)),
    ),
    Claim(
        name="noise_little",
        says="noise 0.5, 7 %: lost",
        source="appendix F.7, Figure 25",
        unit="points",
        paper=0,
        bar=0.2,
        needs=_noise(0.5),
        measure=points(EARLY, ticket(6.95), control("noise", 6.95)),
        less=True,
    ),
    Claim(
        name="noise_much",
        says="noise 3, 7 %: above reinit",
        source="appendix F.7, Figure 25",
        unit="points",
        paper=None,
        bar=0,
        needs=_noise(3.0),
        measure=points(EARLY, control("noise", 6.95), control("reinit", 6.95)),
    ),
    Claim(
        name="adam_rates",
        says="all rates: least gain",
        source="appendix G.2, Figure 26",
        unit="points",
        paper=None,
        bar=0,
        needs=ADAM,
        measure=each(_least_gain),
    ),
    Claim(
        name="adam_fast_rates",
        says="0.0012, 0.002: before lower",
        source="appendix G.2, Figure 26",
        unit="x",
        paper=None,
        bar=1,
        needs=ADAM,
        measure=each(_slow_over_fast),
    ),
    Claim(
        name="sgd_smallest",
        says="SGD 0.8, smallest as good",
        source="appendix G.3.1, Figure 27",
        unit="% left",
        paper=1,
        bar=2,
        needs={"tickets": SGD["0.8"]},
        measure=smallest(wins, low=0.95),
        less=True,
    ),
    Claim(
        name="sgd_sooner",
        says="SGD 0.8, 21.1 %: sooner",
        source="appendix G.3.1, Figure 27",
        unit="%",
        paper=None,
        bar=0,
        needs={"tickets": SGD["0.8"]},
        measure=sooner(ticket(21.1), dense()),
    ),
    Claim(
        name="momentum_sooner",
        says="momentum 0.05, 21.1 %: sooner",
        source="appendix G.3.2, Figure 28",
        unit="%",
        paper=None,
        bar=0,
        needs={"tickets": MOMENTUM["0.05"]},
        measure=sooner(ticket(21.1), dense()),
    ),
    Claim(
        name="momentum_falls",
        says="momentum 0.025, 21.1 %: above",
        source="appendix G.3.2, Figure 28",
        unit="points",
        paper=None,
        bar=0,
        needs={"tickets": MOMENTUM["0.025"]},
        measure=points(EARLY, ticket(21.1), dense()),
        less=True,
    ),
    Claim(
        name="prune_rates",
        says="7 %: 0.1, 0.2 above others",
        source="appendix G.4, Figure 29",
        unit="points",
        paper=None,
        bar=0,
        needs=PRUNE_RATES,
        measure=each(_slow_prune_rates),
    ),
)
