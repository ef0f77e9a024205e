"""The one rule for what a run came to; run, report, export and search all ask it.

A ticket wins if it is at least as good as the dense network, within the sampling error of
the test data (or a tolerance that is given), and was not slower to get there. The paper's
definition has no tolerance; what wins by it is said as well. A dense network that has not
learned is nothing to compare with.
"""

import dataclasses
import statistics
from collections.abc import Sequence
from typing import Any

from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets import judging
from lth_tf.tickets.comparing import (
    WORSE,
    Comparison,
    number_of_labels,
    over_seeds,
    paired,
    unpaired,
)
from lth_tf.tickets.learned import Training, why_not_learned
from lth_tf.tickets.winning import wins


@dataclasses.dataclass(frozen=True)
class Seed:
    """What was trained with one seed: the dense network, and what is compared with it.

    Attributes:
        dense: level 0's ticket, None if it is not trained.
        levels: level -> training; of tickets, or of one control at every level.
        labels: number of labels judged by where no training says which; None if unknown.
        classes: number of classes, None if unknown.
    """

    dense: Training | None
    levels: dict[int, Training]
    labels: int | None = None
    classes: int | None = None

    @property
    def reference(self) -> Training:
        """The dense network, where there is one.

        Raises:
            ValueError: if it is not trained.
        """
        if self.dense is None:
            raise ValueError("Expected a seed with a dense network. Received: dense=None.")
        return self.dense


@dataclasses.dataclass(frozen=True)
class LevelVerdict:
    """What a level came to; with several seeds the means.

    Attributes:
        level: its number.
        density: fraction of the weights it keeps.
        early_stop_iteration: of minimum validation loss.
        value: the metric there, on the test data.
        comparison: with the dense network there.
        wins: True if it is not worse and not slower.
        wins_in_paper: the same by the paper's definition, without tolerance.
        edge: "first" or "last" if it stopped early at that evaluation, with any seed.
    """

    level: int
    density: float
    early_stop_iteration: float
    value: float
    comparison: Comparison
    wins: bool
    wins_in_paper: bool
    edge: str


@dataclasses.dataclass(frozen=True)
class Verdict:
    """What tickets, or one control, came to beside the dense network.

    Attributes:
        nothing: why there is nothing to compare with; "" if there is.
        metric: what is compared.
        judged: the seeds that count, those whose dense network has learned.
        dense_value: the dense network's metric at its early stop; with several seeds the mean.
        dense_iteration: that early stop.
        dense_edge: as `LevelVerdict.edge`.
        levels: of level 1 on (of controls from 0 on), those that every seed has trained.
    """

    nothing: str
    metric: str = "accuracy"
    judged: tuple[Seed, ...] = ()
    dense_value: float = float("nan")
    dense_iteration: float = float("nan")
    dense_edge: str = ""
    levels: tuple[LevelVerdict, ...] = ()

    @property
    def seeds(self) -> int:
        """How many seeds count."""
        return len(self.judged)

    @property
    def smallest(self) -> LevelVerdict | None:
        """The smallest winning ticket."""
        winners = [level for level in self.levels if level.wins]
        return min(winners, key=lambda level: level.density, default=None)

    @property
    def smallest_in_paper(self) -> LevelVerdict | None:
        """The smallest winning ticket by the paper's definition."""
        winners = [level for level in self.levels if level.wins_in_paper]
        return min(winners, key=lambda level: level.density, default=None)


def judge_runs(
    runs: Sequence[RunDir], control: str = "", tolerance: float | None = None
) -> Verdict:
    """Returns what runs that differ in their seed came to.

    Args:
        runs: their directories.
        control: name of what is compared with the dense network, e.g. "reinit_0"; "" for
            the tickets.
        tolerance: see `judge`.
    """
    return judge([seed_of(run, control) for run in runs], tolerance)


def judge_level(dense: RunDir, run: RunDir, level: int) -> Verdict:
    """Returns what one level came to beside the dense network of another run on the same data."""
    trained = _training(run, Stage(level))
    return judge([_seed(dense, _training(dense, Stage(0)), {level: trained})])


def seed_of(run: RunDir, control: str = "") -> Seed:
    """Returns the trainings of a run that `judge` compares."""
    finished = run.finished()
    dense = _training(run, Stage(0)) if Stage(0) in finished else None
    levels = {
        stage.level: _training(run, stage)
        for stage in finished
        if stage.control == control and stage != Stage(0)
    }
    return _seed(run, dense, levels)


def _seed(run: RunDir, dense: Training | None, levels: dict[int, Training]) -> Seed:
    trainings = [training for training in (dense, *levels.values()) if training is not None]
    provenance = run.provenance()
    accuracies = [
        training.summary[f"{name}_test_accuracy"]
        for training in trainings
        for name in ("early_stop", "final")
    ]
    exact = run.config().kind == "experiment"
    return Seed(
        dense,
        levels,
        labels=number_of_labels(accuracies) if exact else None,
        classes=provenance.get("data", {}).get("classes"),
    )


def judge(seeds: Sequence[Seed], tolerance: float | None = None) -> Verdict:
    """Returns what one or several seeds came to.

    Args:
        seeds: at least one; those without a dense network that learned are left out.
        tolerance: what a ticket may be worse by, of accuracies a fraction; None is the sampling
            error of the test data, 0 the paper's definition.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 1 (what a winning ticket is).
    """
    reasons = [_nothing(seed) for seed in seeds]
    fit = [seed for seed, reason in zip(seeds, reasons, strict=True) if not reason]
    if not fit:
        return Verdict(next(reason for reason in reasons if reason))
    dense = [seed.reference for seed in fit]
    common = set.intersection(*(set(seed.levels) for seed in fit))
    return Verdict(
        nothing="",
        metric=judging.judged_by(dense[0].summary)[0],
        judged=tuple(fit),
        dense_value=_mean(dense, "early_stop_test_accuracy"),
        dense_iteration=_mean(dense, "early_stop_iteration"),
        dense_edge=_edge(dense),
        levels=tuple(_level(fit, level, tolerance) for level in sorted(common)),
    )


def _training(run: RunDir, stage: Stage) -> Training:
    history = run.history(stage)
    return Training(
        run.summary(stage),
        int(history["iteration"][0]),
        history["validation_accuracy"].tolist(),
        run.correct(stage),
    )


def _nothing(seed: Seed) -> str:
    """Returns why a seed has nothing to compare with, "" if it has."""
    if seed.dense is None:
        return "the dense network, level 0, is not trained"
    best = max(
        (training.summary["final_train_accuracy"] for training in seed.levels.values()),
        default=float("nan"),
    )
    return why_not_learned(seed.dense, seed.labels, seed.classes, best)


def _level(seeds: Sequence[Seed], level: int, tolerance: float | None) -> LevelVerdict:
    trainings = [seed.levels[level] for seed in seeds]
    comparison = over_seeds([compare(seed, level) for seed in seeds])
    if tolerance is not None:
        comparison = comparison.within(tolerance)
    mean = _as_one(trainings)
    reference = _as_one([seed.reference for seed in seeds])
    in_time = mean["early_stop_iteration"] <= reference["early_stop_iteration"]
    return LevelVerdict(
        level=level,
        density=trainings[0].summary["density"],
        early_stop_iteration=mean["early_stop_iteration"],
        value=mean["early_stop_test_accuracy"],
        comparison=comparison,
        wins=in_time and comparison.word != WORSE,
        wins_in_paper=wins(mean, reference),
        edge=_edge(trainings),
    )


def compare(seed: Seed, level: int) -> Comparison:
    """Compares a level with the dense network of the same seed, both at their early stop."""
    ours, dense = seed.levels[level], seed.reference
    metric, mode = judging.judged_by(dense.summary)
    if ours.correct is not None and dense.correct is not None:
        if ours.correct.early_stop.size == dense.correct.early_stop.size:
            return paired(ours.correct.early_stop, dense.correct.early_stop)
    value, other = (t.summary["early_stop_test_accuracy"] for t in (ours, dense))
    if judging.is_accuracy(metric) and seed.labels:
        return unpaired(value, other, seed.labels)
    return Comparison((value - other) * (1 if mode == "max" else -1), None, "unknown")


def _as_one(trainings: Sequence[Training]) -> dict[str, Any]:
    """Returns the numbers of several trainings as those of one."""
    names = ("early_stop_iteration", "early_stop_test_accuracy")
    return {**trainings[0].summary, **{name: _mean(trainings, name) for name in names}}


def _mean(trainings: Sequence[Training], name: str) -> float:
    values = [training.summary[name] for training in trainings]
    return values[0] if len(values) == 1 else statistics.fmean(values)


def _edge(trainings: Sequence[Training]) -> str:
    edges = {training.edge for training in trainings}
    return next((edge for edge in ("last", "first") if edge in edges), "")
