"""What dynamic sparse training shares: weights are exchanged while the network trains."""

import dataclasses
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf import pruning
from lth_tf.config import SCOPES
from lth_tf.lazy import lazy_imports
from lth_tf.masking.arrays import Masks
from lth_tf.masking.rule import Effective
from lth_tf.methods.base import Context, Shapes, Ticket, Weights
from lth_tf.methods.densities import AtDensities
from lth_tf.methods.hooks import Hooks
from lth_tf.methods.scores import done
from lth_tf.options import option
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.seeding import stream_seed

with lazy_imports():
    import tensorflow as tf

    from lth_tf.masking import model as masking
    from lth_tf.training import largest

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig
    from lth_tf.masking.variables import Slot
    from lth_tf.methods.hooks import Gradients


@dataclasses.dataclass(frozen=True)
class Exchange(AtDensities):
    """Starts from random masks; every so often each layer drops weights and grows as many.

    The weights of the smallest absolute value are dropped. A fraction of them that falls with a
    cosine to 0 is exchanged, in place of an optimizer's update. New weights begin
    at 0, with nothing of the optimizer's.
    """

    finds_tickets: ClassVar[bool] = False

    layer_densities: str = option(
        "erk", "How many weights each layer keeps, by the name of a scope: erk, uniform, ..."
    )
    exchange_interval: int = option(100, "Iterations between exchanges.", minimum=1)
    exchange_end: float = option(
        0.75, "Fraction of the training after which no more is exchanged.", minimum=0.0, maximum=1.0
    )
    exchange_fraction: float = option(
        0.3, "Fraction of a layer's weights exchanged at first.", minimum=0.0, maximum=1.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        SCOPES.get(self.layer_densities)

    def pools(
        self,
        level: int,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> dict[str, tuple[list[str], int]]:
        """Returns the number of weights kept by the densities of the method."""
        config = config.replace(scope=self.layer_densities)
        return super().pools(level, shapes, rates, config, units)

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns random masks and the origin."""
        origin = context.run_dir.origin()
        if not level:
            return context.dense, origin
        sizes = {path: np.size(mask) for path, mask in context.dense.items()}
        pruned = self.rates_of(level, sizes, context.rates)
        masks = pruning.prune(
            context.to_prune(context.dense, origin, level),
            dict.fromkeys(context.rates, 0.0) | pruned,
            "random",
            self.layer_densities,
            level,
        )
        return masks, origin

    def last(self, config: "ProcedureConfig") -> int:
        """Returns the iteration from which on nothing is exchanged."""
        return math.ceil(self.exchange_end * config.known_iterations())


class StraightThrough(Effective):
    """The weight where the mask keeps it, else 0; its gradient is as if nothing were pruned."""

    def __call__(self, weight: "tf.Tensor", mask: "tf.Tensor", state: dict) -> "tf.Tensor":
        """Returns the effective weight."""
        weight = tf.convert_to_tensor(weight)
        kept = tf.where(tf.cast(mask, tf.bool), weight, tf.zeros((), weight.dtype))
        return weight + tf.stop_gradient(kept - weight)


class ExchangeHooks(Hooks):
    """Exchanges weights in place of some updates.

    Args:
        method: how often and how many.
        model: the masked network.
        rates: weight path -> prune rate; what has none is left dense.
        config: iterations and seed.
        dense_gradients: whether growth looks at gradients of pruned weights.
    """

    def __init__(
        self,
        method: Exchange,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
        dense_gradients: bool = False,
    ):
        self._method = method
        self._config = config
        self._last = method.last(config)
        self.dense_gradients = dense_gradients
        if dense_gradients:
            masking.set_effective(model, StraightThrough())
        slots = masking.masked_slots(model)
        self._slots = {path: slot for path, slot in slots.items() if rates[path]}
        self._exchanging = tf.Variable(False, trainable=False)
        self.variables = [self._exchanging, *(slot.mask for slot in self._slots.values())]

    def growth(self, path: str, iteration: "tf.Tensor", gradients: "Gradients") -> "tf.Tensor":
        """Returns what weights are grown by, of a weight's shape; the largest are."""
        raise NotImplementedError

    def begin(self, ticket: Ticket) -> None:
        """Exchanges at levels, not in the dense network and in controls."""
        self._exchanging.assign(bool(ticket.stage.level) and not ticket.stage.control)
        self.early_stop_from = self._last if self._exchanging else 0

    def update(
        self, iteration: "tf.Tensor", gradients: "Gradients", apply: "Callable[[Gradients], None]"
    ) -> None:
        """Exchanges weights if it is time, else lets the optimizer update them."""
        now = (iteration > 0) & (iteration % self._method.exchange_interval == 0)
        now = now & (iteration < self._last) & self._exchanging
        tf.cond(
            now,
            done(lambda: self._exchange(iteration, gradients)),
            done(lambda: apply(gradients)),
        )

    def _exchange(self, iteration: "tf.Tensor", gradients: "Gradients") -> None:
        way = tf.cast(iteration, tf.float32) / self._last
        share = self._method.exchange_fraction / 2 * (1 + tf.cos(math.pi * way))
        for path, slot in self._slots.items():
            self._exchange_in(slot, share, self.growth(path, iteration, gradients), path)

    def _exchange_in(
        self, slot: "Slot", share: "tf.Tensor", growth: "tf.Tensor", path: str
    ) -> None:
        mask, weight = tf.cast(slot.mask.value, tf.bool), slot.weight.value
        count = tf.math.count_nonzero(mask, dtype=tf.int32)
        room = tf.size(mask) - count
        # Exchanged are at most as many as are pruned, so that what grows was not dropped for it.
        number = tf.minimum(tf.cast(tf.round(share * tf.cast(count, tf.float32)), tf.int32), room)
        kept = largest.largest(tf.where(mask, tf.abs(weight), -1.0), count - number)
        grown = largest.largest(tf.where(mask, -1.0, growth), number)
        slot.mask.assign(tf.cast(kept | grown, slot.mask.dtype))
        slot.weight.assign(tf.where(kept, weight, 0.0))
        for state in self.optimizer_slots[path]:
            state.assign(tf.where(kept, state.value, 0.0))

    def seeds(self, path: str, iteration: "tf.Tensor") -> "tf.Tensor":
        """Returns the seeds of an exchange's random numbers."""
        return tf.stack([stream_seed(self._config.seed, "grow", path), iteration])
