"""Edge-popup: which weights of an untrained network to use is learned by scores."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf import pruning
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking.arrays import Masks
from lth_tf.methods import register
from lth_tf.methods.base import Context, Ticket, Weights
from lth_tf.methods.densities import AtDensities
from lth_tf.methods.scores import ScoreHooks, fan_in
from lth_tf.options import option

with lazy_imports():
    import tensorflow as tf

    from lth_tf.masking import model as masking
    from lth_tf.training import largest

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig


@register("edge_popup")
@dataclasses.dataclass(frozen=True)
class EdgePopup(AtDensities):
    """Trains a score for each weight; a layer computes with the weights of the largest.

    Weights stay as they are drawn: + or - the standard deviation of He's initialization,
    divided by the root of the layer's density. Biases and normalization stay as well. The
    gradient of the mask is given to the scores, as if they were the mask.

    Source:
        Ramanujan et al. 2020, arXiv:1911.13299, section 3 and the authors' code (scale_fan).
        They train with SGD at 0.1 and a cosine; here the scores have the run's optimizer.
    """

    finds_tickets: ClassVar[bool] = False

    score_learning_rate: float = option(
        0.01, "Learning rate of the scores; 0 for that of the weights.", minimum=0.0
    )
    edge_weights: str = option(
        "constant",
        "Weights: one absolute value a layer with the signs of the initialization, or the "
        "initialization itself.",
        choices=("constant", "initial"),
    )

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses ranking the weights of all layers together."""
        if config.scope == "global":
            raise UsageError(
                "Expected a scope that gives each layer its own count. Received: scope=global."
            )

    def label(self) -> str:
        """Returns the method in words."""
        return "edge-popup"

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns dense masks, and the weights that are chosen from."""
        origin = context.run_dir.origin()
        if not level or self.edge_weights == "initial":
            return context.dense, origin
        shapes = {path: np.shape(mask) for path, mask in context.dense.items()}
        kept = self.pools(level, shapes, context.rates, context.config)
        constant = {}
        for path, (_, count) in kept.items():
            density = count / origin[path].size
            sigma = np.sqrt(2 / (fan_in(origin[path].shape) * density))
            constant[path] = np.copysign(np.full_like(origin[path], sigma), origin[path])
        return context.dense, origin | constant

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "EdgePopupHooks":
        """Returns what trains the scores."""
        return EdgePopupHooks(self, model, rates, config)


class EdgePopupHooks(ScoreHooks):
    """Trains scores, and keeps the weights of the largest of each layer.

    Args:
        method: sizes and learning rate.
        model: the masked network.
        rates: weight path -> how a density is shared out.
        config: what is run.
    """

    def __init__(
        self,
        method: EdgePopup,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
    ):
        self._method = method
        self._rates = rates
        shapes = {path: mask.shape for path, mask in masking.get_masks(model).items()}
        self._shapes = shapes
        self._kept = {p: tf.Variable(int(np.prod(s)), trainable=False) for p, s in shapes.items()}
        super().__init__(model, rates, config, method.score_learning_rate)
        self.variables = [*self.variables, *self._kept.values()]

    def learns(self, ticket: Ticket) -> bool:
        """Returns True for levels, and False for the dense network and controls."""
        return bool(ticket.stage.level) and not ticket.stage.control

    def begin(self, ticket: Ticket) -> None:
        """Sets how many weights of each layer are used."""
        super().begin(ticket)
        if self.learns(ticket):
            level = ticket.stage.level
            pools = self._method.pools(level, self._shapes, self._rates, self.config)
            for path, (_, count) in pools.items():
                self._kept[path].assign(count)

    def initial(self, path: str) -> np.ndarray:
        """Returns uniform numbers as of He's initialization with a = sqrt(5)."""
        bound = 1 / np.sqrt(fan_in(self._shapes[path]))
        return self.random(path).uniform(-bound, bound, self._shapes[path])

    def soft(self, path: str, weight: "tf.Tensor", score: "tf.Tensor") -> "tf.Tensor":
        """Returns the weights of the largest scores; the others as 0."""
        size = tf.abs(score)
        mask = tf.cast(largest.at_least_kth(size, self._kept[path]), tf.float32)
        mask = size + tf.stop_gradient(mask - size)
        return tf.stop_gradient(tf.cast(weight, tf.float32)) * mask

    def finish(self) -> None:
        """Makes the masks those of the largest scores, exact in their number."""
        if not self.learns(self.ticket):
            return
        masks = masking.get_masks(self.model)
        sizes = {path: np.abs(masking.to_numpy(score)) for path, score in self.scores.items()}
        for path, size in sizes.items():
            number = size.size - int(self._kept[path].numpy())
            masks |= pruning.select.lowest(sizes, {path: np.ones_like(masks[path])}, number)
        masking.set_masks(self.model, masks)
