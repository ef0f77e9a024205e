"""Learning rates that change over a level."""

from typing import Any

import keras
from keras import ops

from lth_tf.config import ExperimentConfig


@keras.saving.register_keras_serializable(package="lth_tf")
class WarmupAndDrops(keras.optimizers.schedules.LearningRateSchedule):
    """Rises from 0 in a line, then falls by a factor at given iterations.

        rate(t) = learning_rate * min(1, t / warmup_iterations) * factor ** |{d in drops: t >= d}|

    Args:
        learning_rate: the rate between warm-up and the first drop.
        drops: iterations at which the rate falls.
        warmup_iterations: length of the rise; 0 is none.
        factor: what the rate is multiplied by at each drop.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 4 and Figure 2.

    Example:
    >>> schedule = WarmupAndDrops(0.1, drops=(100, 200), warmup_iterations=10)
    >>> [round(float(schedule(t)), 4) for t in (0, 5, 10, 99, 100, 200)]
    [0.0, 0.05, 0.1, 0.1, 0.01, 0.001]
    """

    def __init__(
        self,
        learning_rate: float,
        drops: tuple[int, ...] = (),
        warmup_iterations: int = 0,
        factor: float = 0.1,
    ):
        super().__init__()
        self.learning_rate = learning_rate
        self.drops = tuple(drops)
        self.warmup_iterations = warmup_iterations
        self.factor = factor

    def __call__(self, step: Any) -> Any:
        """Returns the rate of an iteration, the first being 0."""
        step = ops.cast(step, "float32")
        rate = self.learning_rate
        if self.warmup_iterations:
            rate = rate * ops.minimum(1.0, step / self.warmup_iterations)
        for drop in self.drops:
            rate = rate * ops.where(step >= drop, self.factor, 1.0)
        return ops.cast(rate, "float32")

    def get_config(self) -> dict[str, Any]:
        """Returns the arguments."""
        return {
            "learning_rate": self.learning_rate,
            "drops": list(self.drops),
            "warmup_iterations": self.warmup_iterations,
            "factor": self.factor,
        }


def schedule(config: ExperimentConfig) -> WarmupAndDrops | None:
    """Returns the schedule that a config asks for, or None if its rate is constant."""
    if not config.lr_drops and not config.warmup_iterations:
        return None
    return WarmupAndDrops(config.learning_rate, config.lr_drops, config.warmup_iterations)
