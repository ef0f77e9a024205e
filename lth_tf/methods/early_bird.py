"""Early-Bird: the mask is drawn as soon as it hardly changes any more."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from lth_tf import pruning
from lth_tf.lazy import lazy_imports
from lth_tf.masking.arrays import Masks
from lth_tf.methods import register
from lth_tf.methods.base import Context, Shapes, Ticket, Weights
from lth_tf.methods.densities import AtDensities
from lth_tf.methods.hooks import Hooks
from lth_tf.options import option
from lth_tf.runs.stage import SEARCH, Stage

with lazy_imports():
    import tensorflow as tf

    from lth_tf.masking import model as masking

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig


@register("early_bird")
@dataclasses.dataclass(frozen=True)
class EarlyBird(AtDensities):
    """Trains the dense network until the mask of the largest weights has settled, and prunes.

    At each evaluation the mask of the level's size is drawn by magnitude. The search ends when
    those of the last five evaluations differ pairwise in at most a tenth of their weights, or at
    the end of the training. Evaluations stand for the paper's epochs: give `eval_interval` the
    iterations of an epoch.

    Source:
        You et al. 2020, arXiv:1909.11957, section 3, there of channels; here of single weights.
    """

    early_bird_window: int = option(5, "Evaluations whose masks are compared.", minimum=2)
    early_bird_distance: float = option(
        0.1, "Fraction of the weights in which they differ at most.", minimum=0.0, maximum=1.0
    )
    early_bird_start: str = option(
        "continue",
        "Start the ticket from the weights that the search has ended with, or from the origin's.",
        choices=("continue", "rewind"),
    )

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses `model.fit`."""
        self.refuse_fit(config, "whose search ends when its masks have settled")

    def label(self) -> str:
        """Returns the method in words."""
        return "Early-Bird"

    def searches(self, level: int) -> bool:
        """Returns True but for the dense network."""
        return bool(level)

    def search(self, level: int, context: Context) -> Ticket:
        """Returns the dense network."""
        return Ticket(Stage(level, SEARCH), context.dense, context.run_dir.origin())

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns the mask that was drawn, and trained weights or the origin."""
        origin = context.run_dir.origin()
        if not level:
            return context.dense, origin
        trained = context.run_dir.trained(Stage(level, SEARCH))
        shapes = {path: np.shape(mask) for path, mask in context.dense.items()}
        masks = context.dense | self.draw(level, trained, shapes, context.rates, context.config)
        return masks, trained if self.early_bird_start == "continue" else origin

    def draw(
        self,
        level: int,
        weights: Weights,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
    ) -> Masks:
        """Returns the masks of the largest weights, of what is pruned at all.

        Args:
            level: 1 is the first density.
            weights: path -> array.
            shapes: weight path -> shape of every prunable weight.
            rates: weight path -> how the density is shared out.
            config: scope.
        """
        sizes = {path: int(np.prod(shape)) for path, shape in shapes.items()}
        pruned = self.rates_of(level, sizes, rates)
        scores = {path: np.abs(weights[path]) for path in pruned}
        dense = {path: np.ones(shapes[path], np.uint8) for path in pruned}
        return pruning.choose(scores, dense, pruned, config.scope)

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "EarlyBirdHooks":
        """Returns what ends a search."""
        return EarlyBirdHooks(self, model, rates, config)


class EarlyBirdHooks(Hooks):
    """Ends a search once its masks have settled.

    Args:
        method: sizes, window and distance.
        model: the masked network.
        rates: weight path -> how a density is shared out.
        config: scope.
    """

    def __init__(
        self,
        method: EarlyBird,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
    ):
        self._method, self._model, self._rates, self._config = method, model, rates, config
        self._shapes = {path: mask.shape for path, mask in masking.get_masks(model).items()}
        size = sum(int(np.prod(shape)) for path, shape in self._shapes.items() if rates[path])
        # Variables, so that they are part of a checkpoint.
        shape = (method.early_bird_window, -(-size // 8))
        self._masks = tf.Variable(np.zeros(shape, np.uint8), trainable=False)
        self._count = tf.Variable(0, trainable=False)
        self.variables = [self._masks, self._count]

    def begin(self, ticket: Ticket) -> None:
        """Notes the stage."""
        self._stage = ticket.stage

    def restart(self, iteration: int) -> None:
        """Forgets all masks."""
        self._count.assign(0)

    def evaluated(self, iteration: int) -> bool:
        """Draws a mask; True if it and those before it are alike."""
        if self._stage.control != SEARCH or not iteration:
            return False
        weights = masking.get_weights(self._model)
        found = self._method.draw(
            self._stage.level, weights, self._shapes, self._rates, self._config
        )
        drawn = np.concatenate([mask.ravel() for mask in found.values()])
        masks = np.roll(self._masks.numpy(), 1, 0)
        masks[0] = np.packbits(drawn)
        self._masks.assign(masks)
        self._count.assign_add(1)
        if int(self._count) < len(masks):
            return False
        distances = [
            np.unpackbits(one ^ other).sum() / drawn.size for one in masks for other in masks
        ]
        return bool(max(distances) <= self._method.early_bird_distance)
