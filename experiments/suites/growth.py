"""What grows with the size of a problem, as cost against size with the slope."""

import pathlib
import tempfile
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lth_tf import pruning
from lth_tf.config import ExperimentConfig
from lth_tf.masking.arrays import Masks
from lth_tf.runs.history import Correct, Evaluation, History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from . import Options, Result, in_turn, register
from .startup import seconds_of

_PACKAGE = __package__.rpartition(".")[0]
_WEIGHTS = (6_250_000, 25_000_000, 100_000_000)
_STAGES = (20, 100, 500)
# Networks by their weights: a quarter of a million, 4 million, 20 million.
_NETWORKS = {266_200: "lenet", 4_301_000: "conv2", 20_024_000: "vgg19"}


@register("growth")
def growth(options: Options) -> Iterator[Result]:
    """Measures pruning, a run's disk, reports and a program's start at three sizes each."""
    pruned = {f"{n / 1e6:g} million weights": _pruning(n) for n in _WEIGHTS}
    yield _with_slope(in_turn("pruning, magnitude, all weights ranked together", pruned, 1, "s"))
    with tempfile.TemporaryDirectory() as folder:
        disk = {}
        for weights in _NETWORKS:
            run = pathlib.Path(folder, f"of_{weights}")
            _made_run(run, stages=21, weights=weights, labels=10_000)
            size = sum(file.stat().st_size for file in run.rglob("*") if file.is_file())
            disk[f"{weights / 1e6:.3g} million weights"] = [size / 1e6]
        yield _with_slope(Result("disk of a run of 21 levels, a fifth pruned each", "MB", disk))
        reports = {}
        for stages in _STAGES:
            run = pathlib.Path(folder, f"lenet_{stages}")
            _made_run(run, stages=stages, weights=10_000, labels=1_000)
            report = ["-m", f"{_PACKAGE}.report", str(run)]
            reports[f"{stages} stages"] = seconds_of("report", report, folder)
        yield _with_slope(in_turn("a report", reports, options.rounds, "s"))
        plan = ["--dataset=digits", "--levels=1", "--dry_run"]
        starts = {
            f"{weights / 1e6:.3g} million weights ({network})": seconds_of(
                network, ["-m", f"{_PACKAGE}.{network}", *plan], folder
            )
            for weights, network in _NETWORKS.items()
        }
        yield _with_slope(in_turn("start of a program, to its plan", starts, options.rounds, "s"))


def slope(sizes: list[float], costs: list[float]) -> float:
    """Returns the exponent of a power of the size that costs grow with, by least squares.

    Example:
    >>> round(slope([1.0, 10.0, 100.0], [2.0, 20.0, 200.0]), 6)
    1.0
    """
    return float(np.polyfit(np.log(sizes), np.log(costs), 1)[0])


def _with_slope(result: Result) -> Result:
    sizes = [float(name.split()[0]) for name in result.values]
    medians = [float(np.median(values)) for values in result.values.values()]
    found = slope(sizes, medians)
    return Result(result.title, result.unit, result.values, f"Cost is as size to the {found:.2f}.")


def _pruning(weights: int) -> Callable[[], float]:
    def seconds() -> float:
        random = np.random.default_rng(0)
        trained = {
            f"layer{i}/kernel": random.standard_normal(weights // 4, np.float32) for i in range(4)
        }
        masks = {path: np.ones(value.shape, np.uint8) for path, value in trained.items()}
        context = pruning.PruningContext(masks, trained, trained)
        rates = dict.fromkeys(masks, 0.2)
        start = time.perf_counter()
        pruning.prune(context, rates, "magnitude", "global", level=1)
        return time.perf_counter() - start

    return seconds


def _made_run(folder: pathlib.Path, stages: int, weights: int, labels: int) -> None:
    """Writes a run of random weights: levels with a fifth pruned, then controls of the levels."""
    random = np.random.default_rng(0)
    values = {"fc1/kernel": random.standard_normal(weights, np.float32).reshape(-1, 100)}
    scores = {path: random.random(value.shape) for path, value in values.items()}
    levels = min(stages, 21)
    reinits = -(-(stages - levels) // max(1, levels - 1))
    config = ExperimentConfig(dataset="digits", levels=levels - 1).replace(reinits=reinits)
    run_dir = RunDir(folder)
    with run_dir.writing(config):
        run_dir.save_origin(values)
        names = [Stage(level) for level in range(levels)]
        names += [
            Stage(level, f"reinit_{number}")
            for level in range(1, levels)
            for number in range(reinits)
        ]
        for stage in names[:stages]:
            masks: Masks = {p: (s < 0.8**stage.level).astype(np.uint8) for p, s in scores.items()}
            run_dir.save_stage(stage, masks, values, _made_history(stage, random, labels))


def _made_history(stage: Stage, random: Any, labels: int) -> History:
    losses = np.linspace(2.3, 0.1, 100) + 0.01 * random.random(100)
    evaluations = [
        Evaluation(
            iteration=100 * i,
            train_loss=float(loss) if i else None,
            validation_loss=float(loss),
            validation_accuracy=0.9,
            test_accuracy=None,
        )
        for i, loss in enumerate(losses)
    ]
    predicted = random.random((2, labels)) < 0.97
    correct = Correct(early_stop=predicted[0], final=predicted[1], chance=0.1)
    return History(
        evaluations=evaluations,
        early_stop_iteration=100 * int(np.argmin(losses)),
        early_stop_test_accuracy=correct.accuracy("early_stop"),
        final_test_accuracy=correct.accuracy("final"),
        final_train_accuracy=1.0,
        seconds=1.0,
        correct=correct,
    )
