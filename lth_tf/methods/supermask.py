"""Supermask: masks are drawn with probabilities that are learned; weights are not trained."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf.lazy import lazy_imports
from lth_tf.methods import register
from lth_tf.methods.base import Method, Shapes, Ticket
from lth_tf.methods.scores import ScoreHooks
from lth_tf.options import option
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.pruning.select import size

with lazy_imports():
    import tensorflow as tf

    from lth_tf import keras_internals
    from lth_tf.masking import model as masking

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig


@register("supermask")
@dataclasses.dataclass(frozen=True)
class Supermask(Method):
    """Learns a probability for each weight; weights stay as they are initialized.

    Each update draws a mask from the probabilities sigmoid(score); the gradient of the mask is
    given to the probability. Level 1 is the supermask: how many weights it keeps is
    found, not asked for. Its mask keeps what is likelier kept than not, and that is what is
    evaluated.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 5. They report the mean accuracy of 10 masks
        that are drawn.
    """

    finds_tickets: ClassVar[bool] = False

    score_learning_rate: float = option(
        0.1, "Learning rate of the scores; 0 for that of the weights.", minimum=0.0
    )

    def label(self) -> str:
        """Returns the method in words."""
        return "supermask"

    def details(self, config: "ProcedureConfig") -> str:
        """Returns that sizes are not known before."""
        return "The size of the supermask is found, not asked for"

    def levels(self, config: "ProcedureConfig") -> int:
        """Returns 1: the supermask."""
        return 1

    def needs(self, level: int) -> int | None:
        """Returns None: a supermask needs no other level."""
        return None

    def plan(
        self,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> list[int]:
        """Returns the number of weights at level 0, and the most that level 1 can keep."""
        return [sum(map(size, shapes.values()))] * 2

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "SupermaskHooks":
        """Returns what trains the scores."""
        return SupermaskHooks(model, rates, config, self.score_learning_rate)


class SupermaskHooks(ScoreHooks):
    """Draws a mask at each update, and trains the probabilities."""

    def learns(self, ticket: Ticket) -> bool:
        """Returns True for the supermask, and False for the dense network and controls."""
        return bool(ticket.stage.level) and not ticket.stage.control

    def initial(self, path: str) -> np.ndarray:
        """Returns zeros: each weight is kept by half."""
        return np.zeros(self.scores[path].shape)

    def soft(self, path: str, weight: "tf.Tensor", score: "tf.Tensor") -> "tf.Tensor":
        """Returns the weights that are drawn; outside of training those that are likely."""
        if keras_internals.in_training():
            likely = tf.sigmoid(score)
            drawn = tf.cast(self.noise(path) < likely, tf.float32)
            mask = likely + tf.stop_gradient(drawn - likely)
        else:
            mask = tf.cast(score > 0, tf.float32)
        return tf.stop_gradient(tf.cast(weight, tf.float32)) * mask

    def finish(self) -> None:
        """Makes the masks those of what is likelier kept than not."""
        if self.learns(self.ticket):
            found = {path: masking.to_numpy(score) > 0 for path, score in self.scores.items()}
            masks = {path: mask.astype(np.uint8) for path, mask in found.items()}
            masking.set_masks(self.model, masking.get_masks(self.model) | masks)
