"""The sparse step beside the dense one, density by density, and what 21 levels take."""

import tempfile
import time
from collections.abc import Iterator
from typing import Any

import numpy as np

from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from lth_tf.tickets.listener import RunListener

from . import Options, Rate, Result, in_turn, register
from .setups import config_of, model_of, random_data, ticket_masks, trainer_of, trainer_rate

DENSITIES = (0.64, 0.41, 0.21, 0.108, 0.036, 0.012)
_STEPS = ("sparse", "dense")


@register("sparse")
def sparse(options: Options) -> Iterator[Result]:
    """Measures LeNet's training and its evaluation at tickets' densities, then 21 levels."""
    for density in DENSITIES:
        percent = f"lenet at {100 * density:g} %"
        rates = {f"{step} step": _rate(step, density, options.seconds) for step in _STEPS}
        yield in_turn(f"{percent}: training alone", rates, options.rounds)
        rates = {f"{step} step": _rate(step, density, options.seconds, True) for step in _STEPS}
        yield in_turn(
            f"{percent}: with validation every 100 and test every 500 iterations",
            rates,
            options.rounds,
        )
    yield in_turn(
        "lenet: 21 levels of 2,000 iterations with all their files",
        {f"--step={step}": _levels(step) for step in ("auto", "dense")},
        max(1, options.rounds // 3),
        unit="levels/s",
        note="Import of TensorFlow and compilation aside.",
    )


def _rate(step: str, density: float, seconds: float, evaluated: bool = False) -> Rate:
    config = config_of("lenet")
    model = model_of(config)
    ticket_masks(model, density)
    if evaluated:
        return trainer_rate(
            trainer_of(config, model, 5_000, 100, test_interval=500, step=step), seconds
        )
    return trainer_rate(trainer_of(config, model, step=step), seconds)


def _levels(step: str) -> Rate:
    config = config_of("lenet").replace(iterations=2_000, levels=20)
    data = random_data(config, 5_000, 10_000)
    # Labels that can be learned: tickets of noise look different.
    for split in (data.train, data.validation, data.test):
        split.images[np.arange(len(split)), split.labels * 2 + 4, 14] = 255

    def measure() -> float:
        with tempfile.TemporaryDirectory() as folder:
            ends: list[float] = []
            listener = _Ends(ends)
            find_tickets(config, data, folder, step=step, listeners=[listener])
            return (len(ends) - 1) / (ends[-1] - ends[0])

    return measure


class _Ends(RunListener):
    """Notes when stages are finished; what is compiled before the first is not counted."""

    def __init__(self, ends: list[float]):
        self._ends = ends

    def stage_finished(self, stage: Stage, summary: dict[str, Any]) -> None:
        self._ends.append(time.perf_counter())
