"""Continuous sparsification: soft masks harden while weights and scores are trained."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from lth_tf.lazy import lazy_imports
from lth_tf.methods import register
from lth_tf.methods.base import Context, Ticket
from lth_tf.methods.scores import SCORE, ScoreHooks
from lth_tf.methods.searched import Searched
from lth_tf.options import option
from lth_tf.runs.stage import SEARCH, Stage

with lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig


@register("continuous_sparsification")
@dataclasses.dataclass(frozen=True)
class ContinuousSparsification(Searched):
    """Each level searches as long as a training, with the mask sigmoid(beta * score).

    Beta rises from 1 to `final_beta` exponentially, the mask is divided by sigmoid(initial_score),
    and the penalty `mask_penalty` times the sum of the masks is added to the loss. The next
    level's search goes on from these weights, with scores min(final_beta * score, initial_score).

    Source:
        Savarese et al. 2020, arXiv:1912.04427, section 4. Their ticket is where scores are
        positive; here it has the highest scores, as many as its density says.
    """

    final_beta: float = option(200.0, "Beta at the end of a search.", minimum=1.0)
    mask_penalty: float = option(1e-8, "Penalty on the sum of the masks.", minimum=0.0)
    initial_score: float = option(
        0.0, "Score that the first search starts from; lower is sparser, e.g. -0.1."
    )

    def label(self) -> str:
        """Returns the method in words."""
        return "continuous sparsification"

    def needs(self, level: int) -> int | None:
        """Returns None: a level's ticket needs its own search."""
        return None

    def search(self, level: int, context: Context) -> Ticket:
        """Returns origin and initial scores, or what the search before has ended with."""
        stage = Stage(level, SEARCH)
        if level == 1:
            return Ticket(stage, context.dense, context.run_dir.origin())
        found = context.run_dir.trained(Stage(level - 1, SEARCH))
        learned = {name: value for name, value in found.items() if name.endswith(SCORE)}
        weights = {name: value for name, value in found.items() if name not in learned}
        return Ticket(stage, context.dense, weights, learned=learned)

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "SparsificationHooks":
        """Returns what trains the scores."""
        return SparsificationHooks(self, model, rates, config)


class SparsificationHooks(ScoreHooks):
    """Trains weights and scores together, while beta rises.

    Args:
        method: beta, penalty and initial score.
        model: the masked network.
        rates: weight path -> how a density is shared out.
        config: what is run.
    """

    trains_weights = True

    def __init__(
        self,
        method: ContinuousSparsification,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
    ):
        self._method = method
        self._beta = tf.Variable(1.0, trainable=False)
        super().__init__(model, rates, config)
        self.variables = [*self.variables, self._beta]

    def initial(self, path: str) -> np.ndarray:
        """Returns the initial score, at most, of what the search before has ended with."""
        method, learned = self._method, self.ticket.learned
        shape = self.scores[path].shape
        if not learned:
            return np.full(shape, method.initial_score)
        return np.minimum(method.final_beta * learned[f"{path}{SCORE}"], method.initial_score)

    def restart(self, iteration: int) -> None:
        """Sets scores and beta."""
        super().restart(iteration)
        self._beta.assign(1.0)

    def before_update(self, iteration: "tf.Tensor") -> None:
        """Raises beta."""
        super().before_update(iteration)
        way = tf.cast(iteration, tf.float32) / self.config.known_iterations()
        self._beta.assign(self._method.final_beta**way)

    def soft(self, path: str, weight: "tf.Tensor", score: "tf.Tensor") -> "tf.Tensor":
        """Returns weight * sigmoid(beta * score) / sigmoid(initial score)."""
        mask = tf.sigmoid(self._beta * score) / tf.sigmoid(self._method.initial_score)
        return tf.cast(weight, tf.float32) * mask

    def extra_loss(self, iteration: "tf.Tensor") -> "tf.Tensor":
        """Returns the penalty on the sum of the masks."""
        masks = [tf.reduce_sum(tf.sigmoid(self._beta * s.value)) for s in self.scores.values()]
        return tf.where(self.active, self._method.mask_penalty * tf.add_n(masks), 0.0)
