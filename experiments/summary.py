"""The first thing a report shows: what each network and series came to."""

import dataclasses
import statistics
from collections.abc import Sequence

from lth_tf.tickets import judging
from lth_tf.tickets.comparing import Comparison
from lth_tf.tickets.verdict import LevelVerdict, Seed, Verdict, judge, seed_of

from .results import Run, percent


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What the replicates of a series came to.

    Attributes:
        network: network and data set.
        series: name of the curve.
        seeds: number of seeds that count; of all where there is nothing to compare with.
        verdict: what they came to.
        dense: accuracies of their dense networks at their early stop.
        what: what its levels are.
    """

    network: str
    series: str
    seeds: int
    verdict: Verdict
    dense: tuple[float, ...]
    what: str


def outcomes(runs: Sequence[Run]) -> list[Outcome]:
    """Returns what every network and series came to, in the order of the curves."""
    groups: dict[tuple[str, str, bool], list[tuple[Run, Seed]]] = {}
    for run in runs:
        for control in dict.fromkeys(stage.control for stage in run.stages()):
            key = (run.network, run.series(control), not control)
            groups.setdefault(key, []).append((run, seed_of(run.directory, control)))
    return [_outcome(*key, group) for key, group in groups.items()]


def _outcome(network: str, series: str, is_ticket: bool, group: list[tuple[Run, Seed]]) -> Outcome:
    finds_tickets = is_ticket and group[0][0].config.method.finds_tickets
    verdict = judge([seed for _, seed in group])
    counted = verdict.judged or [seed for _, seed in group]
    dense = [
        seed.dense.summary["early_stop_test_accuracy"] for seed in counted if seed.dense is not None
    ]
    return Outcome(
        network,
        series,
        len(counted),
        verdict,
        tuple(dense),
        "winning ticket" if finds_tickets else "network as good as the dense one",
    )


HEAD = (
    "network",
    "series",
    "seeds",
    "dense {}",
    "smallest winning",
    "by the paper's rule",
    "early stop there / dense",
    "{} there against dense",
    "best {}",
)


def cells(outcome: Outcome) -> list[str]:
    """Returns a row of the table in words, in the order of `HEAD`."""
    verdict, metric = outcome.verdict, outcome.verdict.metric
    first = [outcome.network, outcome.series, str(outcome.seeds), _dense(outcome.dense, metric)]
    if verdict.nothing:
        return [*first, f"nothing to compare with: {verdict.nothing}"]
    if not verdict.levels:
        return [*first, "only the dense network is trained so far"]
    found = verdict.smallest
    best = max(verdict.levels, key=lambda level: level.comparison.difference)
    if found is None:
        there = ["none", _size(verdict.smallest_in_paper), "", ""]
    else:
        ends = "".join("*" for edge in (found.edge, verdict.dense_edge) if edge)[:1]
        there = [
            _size(found),
            _size(verdict.smallest_in_paper),
            f"{found.early_stop_iteration:,.0f} / {verdict.dense_iteration:,.0f}{ends}",
            f"{found.comparison.word}, {_difference(found.comparison, metric)}",
        ]
    return [*first, *there, f"{_value(best.value, metric)} at {_size(best)}"]


def _dense(values: Sequence[float], metric: str) -> str:
    if not values:
        return ""
    mean = _value(statistics.fmean(values), metric)
    if len(values) == 1:
        return mean
    return f"{mean} ({_value(min(values), metric)}–{_value(max(values), metric)})"


def _size(level: LevelVerdict | None) -> str:
    return "none" if level is None else f"{percent(level.density):g} %"


def _value(value: float, metric: str) -> str:
    return f"{100 * value:.2f}" if judging.is_accuracy(metric) else f"{value:.4g}"


def _difference(comparison: Comparison, metric: str) -> str:
    scale, form = (100, ".2f") if judging.is_accuracy(metric) else (1, ".3g")
    words = f"{scale * comparison.difference:+{form}}"
    if comparison.seeds > 1:
        low, high = scale * comparison.smallest, scale * comparison.largest
        words += f" ({low:+{form}} to {high:+{form}})"
    return words if comparison.error is None else f"{words} ± {scale * comparison.error:{form}}"
