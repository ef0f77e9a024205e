"""Gradual magnitude pruning: ever more weights go while the network trains."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lth_tf.config import GRANULARITIES
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking.arrays import Masks
from lth_tf.methods import register
from lth_tf.methods.base import Context, Ticket, Weights
from lth_tf.methods.densities import AtDensities
from lth_tf.methods.gradual_units import LargestUnits, LargestWeights
from lth_tf.methods.hooks import Hooks
from lth_tf.options import option
from lth_tf.pruning.granularities.grouped import Grouped

with lazy_imports():
    import tensorflow as tf

    from lth_tf.masking import model as masking

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig


@register("gradual")
@dataclasses.dataclass(frozen=True)
class Gradual(AtDensities):
    """Prunes the smallest weights while the network trains, down to a final density.

    At iteration t the fraction s * (1 - (1 - (t - first) / (last - first)) ** 3) is pruned,
    where s is the fraction pruned in the end; `prune_schedule=constant` prunes it all at once,
    at the first of these iterations. Level 0 is the dense network, each further
    level one training down to one final density.

    The prune rates say how the final density is shared out: all groups are pruned as
    the same, possibly fractional, number of levels would prune them.

    Source:
        Zhu & Gupta 2017, arXiv:1710.01878, section 3. They begin once the network has
        trained for some iterations, see no difference between 100 and 1,000
        iterations from one pruning to the next, and train on after the last. Where it
        begins and ends depends on the task: here after a tenth and a half of the training.
    """

    finds_tickets: ClassVar[bool] = False
    takes_granularity: ClassVar[bool] = True

    prune_begin: float = option(
        0.1, "Fraction of the training after which pruning begins.", minimum=0.0, below=1.0
    )
    prune_end: float = option(
        0.5,
        "Fraction of the training after which it ends; the rest is at the final density.",
        minimum=0.0,
        maximum=1.0,
    )
    prune_schedule: str = option(
        "polynomial",
        "Pruned is ever more, with a cubic, or all at once when pruning begins.",
        choices=("polynomial", "constant"),
    )
    prune_frequency: int = option(100, "Iterations from one pruning to the next.", minimum=1)

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses too short a training, ranking all layers together, and patterns."""
        if not GRANULARITIES.get(config.granularity).fixed:
            raise UsageError(
                "Expected a granularity whose units are known before training. Received: "
                f"granularity={config.granularity}, method=gradual. Use the method oneshot or imp."
            )
        if config.scope != "layerwise":
            raise UsageError(
                "Expected scope=layerwise: gradual pruning prunes each layer by its own count. "
                f"Received: scope={config.scope}."
            )
        if config.iterations is not None:  # as in fit before it has begun
            self.prunings(config.known_iterations())

    def label(self) -> str:
        """Returns the method in words."""
        return "gradual pruning"

    def details(self, config: "ProcedureConfig") -> str:
        """Returns when weights are pruned."""
        prunings = self.prunings(config.known_iterations())
        return f"Pruned from iteration {prunings[0]:,} to {prunings[-1]:,}, every {prunings.step:,}"

    def prunings(self, iterations: int) -> range:
        """Returns the iterations at which weights are pruned, the last at the final density.

        Pruning at iteration t comes before the t-th update, the first update being 1.

        Args:
            iterations: those of a training.

        Raises:
            UsageError: if there is room for fewer than two.
        """
        first = max(1, round(self.prune_begin * iterations))
        room = round(self.prune_end * iterations) - first
        steps = room // self.prune_frequency
        if steps < 1:
            raise UsageError(
                f"Expected at least prune_frequency={self.prune_frequency} iterations from "
                f"prune_begin to prune_end. Received: prune_begin={self.prune_begin:g}, "
                f"prune_end={self.prune_end:g} of {iterations} iterations."
            )
        return range(first, first + steps * self.prune_frequency + 1, self.prune_frequency)

    def settled(self, iterations: int) -> int:
        """Returns the iteration of a training from which on it has its final density."""
        prunings = self.prunings(iterations)
        return prunings[0] if self.prune_schedule == "constant" else prunings[-1]

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "GradualHooks":
        """Returns what prunes while the network trains."""
        return GradualHooks(self, model, rates, config)

    def finish(self, ticket: Ticket, weights: Weights, context: Context) -> Masks:
        """Returns where weights are left."""
        if not ticket.stage.level:
            return ticket.masks
        pruned = [path for path, rate in context.rates.items() if rate]
        left = {path: (weights[path] != 0).astype("uint8") for path in pruned}
        # A bias that is left may be 0: kernels tell which units are.
        units = context.units.fold(left)
        return ticket.masks | context.units.unfold(units, {p: context.dense[p] for p in left}, {})


class GradualHooks(Hooks):
    """Prunes to exact counts of weights or units, before the updates that the schedule names.

    What is pruned stays pruned: of equal weights the first are kept.

    Args:
        method: the schedule.
        model: the masked network.
        rates: weight path -> how the final density is shared out.
        config: iterations of a training.
    """

    def __init__(
        self,
        method: Gradual,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
    ):
        self._method = method
        self._config = config
        self._iterations = config.known_iterations()
        self._prunings = method.prunings(config.known_iterations())
        units = GRANULARITIES.get(config.granularity)().units(model)
        slots = masking.masked_slots(model)
        self._largest = (
            LargestUnits(slots, rates, units)
            if isinstance(units, Grouped)
            else LargestWeights(slots, rates)
        )
        self._sizes = self._largest.sizes
        # As many as there are: nothing is pruned, as at level 0 and of controls.
        self._kept = {
            name: tf.Variable(self._sizes[name], trainable=False) for name in self._largest.pruned
        }
        masks = [slot.mask for slot in self._largest.slots.values()]
        self.variables = [*self._kept.values(), *masks]

    def begin(self, ticket: Ticket) -> None:
        """Sets how many weights, or units, of each layer the stage keeps in the end."""
        kept = dict(self._sizes)
        self.early_stop_from = 0
        if ticket.stage.level and not ticket.stage.control:
            kept |= self._largest.final(self._method, ticket.stage.level, self._config)
            self.early_stop_from = self._method.settled(self._iterations)
        for path, variable in self._kept.items():
            variable.assign(kept[path])

    def before_update(self, iteration: "tf.Tensor") -> None:
        """Prunes if the schedule says so."""
        update = iteration + 1
        first, last, step = self._prunings[0], self._prunings[-1], self._prunings.step
        pruning = (update >= first) & (update <= last) & ((update - first) % step == 0)
        way = tf.cast(update - first, tf.float32) / (last - first)
        at_once = self._method.prune_schedule == "constant"
        share = tf.ones_like(way) if at_once else 1 - (1 - way) ** 3

        def prune() -> "tf.Tensor":
            counts = {}
            for name, kept in self._kept.items():
                size = self._sizes[name]
                now = size - tf.cast(tf.round(share * tf.cast(size - kept, tf.float32)), tf.int32)
                counts[name] = tf.where(update == last, kept, now)
            self._largest.keep(counts)
            return tf.constant(True)

        tf.cond(pruning, prune, lambda: tf.constant(False))

    def after_update(self, iteration: "tf.Tensor", gradients: object) -> None:
        """Zeroes what the optimizer's momentum has moved of the pruned weights."""
        self._largest.zero_pruned()
