"""Fine-tuning: trained weights stay and are trained on at the last learning rate."""

import dataclasses
from typing import TYPE_CHECKING

from lth_tf.config import ExperimentConfig
from lth_tf.lazy import lazy_imports
from lth_tf.methods import register
from lth_tf.methods.hooks import Hooks
from lth_tf.methods.train_and_prune import TrainAndPrune

with lazy_imports():
    import tensorflow as tf

    from lth_tf.training import schedules

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig
    from lth_tf.methods.base import Ticket


@register("fine_tuning")
@dataclasses.dataclass(frozen=True)
class FineTuning(TrainAndPrune):
    """Trains, prunes, and trains on for as many iterations at the schedule's last rate.

    Source:
        Han et al. 2015, arXiv:1506.02626; Renda et al. 2020, arXiv:2003.02389, section 3.
    """

    @property
    def continues(self) -> bool:
        """True: from the trained weights."""
        return True

    def label(self) -> str:
        """Returns the method in words."""
        return "fine-tuning"

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses `model.fit`, whose learning rates are the user's."""
        super().check(config)
        self.refuse_fit(config, "which knows the last rate of flags only")

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "FineTuningHooks":
        """Returns what holds the learning rate."""
        if not isinstance(config, ExperimentConfig):
            raise TypeError(f"Expected an ExperimentConfig. Received: {type(config).__name__}.")
        return FineTuningHooks(config)


class FineTuningHooks(Hooks):
    """Trains all levels but the dense one, and controls, at the schedule's last rate.

    Args:
        config: iterations and schedule.
    """

    def __init__(self, config: ExperimentConfig):
        rates = schedules.schedule(config)
        self._last = rates and float(rates(config.iterations - 1))
        self._tuning = tf.Variable(False, trainable=False)
        self.variables = [self._tuning]

    def begin(self, ticket: "Ticket") -> None:
        """Says whether trained weights are trained on."""
        self._tuning.assign(bool(ticket.stage.level) and not ticket.stage.control)

    def learning_rate(self, rate: "tf.Tensor", iteration: "tf.Tensor") -> "tf.Tensor":
        """Returns the last rate of the schedule, if it has one."""
        return rate if self._last is None else tf.where(self._tuning, self._last, rate)
