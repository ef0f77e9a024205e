"""Concrete ticket search: scores learn to let a sparse network say what the dense one says."""

import dataclasses
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.methods import register
from lth_tf.methods.base import Context, Ticket
from lth_tf.methods.scores import SCORE, ScoreHooks
from lth_tf.methods.searched import Searched
from lth_tf.options import option
from lth_tf.runs.stage import SEARCH, Stage

with lazy_imports():
    import tensorflow as tf

    from lth_tf import keras_internals
    from lth_tf.masking import model as masking
    from lth_tf.training import largest

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig
    from lth_tf.methods.hooks import Gradients

TEMPERATURE = 2 / 3
SLACK = 1.1  # of the density, in the constraint
DROP = 0.88  # of the search, after which the learning rate is a tenth


@register("concrete_search")
@dataclasses.dataclass(frozen=True)
class ConcreteSearch(Searched):
    """Searches with frozen weights, then trains the ticket from them.

    The mask of an update is sigmoid((score + logit u) / (2/3)), u uniform: a concrete
    distribution whose weight is kept with probability sigmoid(score), at first the density of
    the layer. The loss is 100 times the divergence of the outputs from those of the whole
    network. While more than 1.1 times the density are kept, the gradient of
    C = 100 * (sum of sigmoid(score) / (1.1 * kept) - 1) is added, with a weight that is a
    running mean of |dL/ds| / |dC/ds|. In the end exactly as many as the density says are kept.

    Source:
        Concrete ticket search, 2025 (code: tanayarora09/TLAB), reverse divergence of outputs.
        The mask follows Maddison et al. 2017, arXiv:1611.00712, section 3.
    """

    rewind_iteration: int = option(
        0, "Iteration whose weights every level starts from; 0 is initialization.", minimum=0
    )
    search_length: float = option(
        0.25, "Length of a search, as a fraction of a training.", minimum=0.0, maximum=1.0
    )
    score_learning_rate: float = option(
        0.1, "Learning rate of the scores; 0 for that of the weights.", minimum=0.0
    )

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses `model.fit`, and a rewind iteration or a search of no length."""
        self.refuse_fit(config, "whose search is shorter than a level")
        if self.rewind_iteration >= config.known_iterations():
            raise UsageError(
                f"Expected rewind_iteration below iterations={config.known_iterations()}. "
                f"Received: rewind_iteration={self.rewind_iteration}."
            )
        if self.stop(config) < 1:
            raise UsageError(
                "Expected a search of at least one iteration. Received: "
                f"search_length={self.search_length:g} of {config.known_iterations()} iterations."
            )

    def stop(self, config: "ProcedureConfig") -> int:
        """Returns the number of iterations of a search."""
        return round(self.search_length * config.known_iterations())

    def label(self) -> str:
        """Returns the method in words."""
        return "concrete ticket search"

    def origin_iteration(self, config: "ProcedureConfig") -> int:
        """Returns the iteration whose weights are the origin."""
        return self.rewind_iteration

    def search(self, level: int, context: Context) -> Ticket:
        """Returns the origin, which stays as it is."""
        origin = context.run_dir.origin()
        return Ticket(Stage(level, SEARCH), context.dense, origin, stop=self.stop(context.config))

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "ConcreteHooks":
        """Returns what trains the scores."""
        return ConcreteHooks(self, model, rates, config)


class ConcreteHooks(ScoreHooks):
    """Trains scores against the whole network, under a constraint on their sum.

    Args:
        method: sizes, length and learning rate.
        model: the masked network.
        rates: weight path -> how a density is shared out.
        config: what is run.
    """

    def __init__(
        self,
        method: ConcreteSearch,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
    ):
        self._method = method
        self._rates = rates
        self._shapes = {path: mask.shape for path, mask in masking.get_masks(model).items()}
        self._densities = {p: tf.Variable(1.0, trainable=False) for p in self._shapes}
        self._weight = tf.Variable(0.0, trainable=False)
        super().__init__(model, rates, config, method.score_learning_rate)
        self.variables = [*self.variables, self._weight, *self._densities.values()]

    def begin(self, ticket: Ticket) -> None:
        """Sets how many weights of each layer are to be kept."""
        super().begin(ticket)
        if self.learns(ticket):
            level = ticket.stage.level
            pools = self._method.pools(level, self._shapes, self._rates, self.config)
            for paths, count in pools.values():
                size = sum(int(np.prod(self._shapes[path])) for path in paths)
                for path in paths:
                    self._densities[path].assign(count / size)

    def initial(self, path: str) -> np.ndarray:
        """Returns the score whose sigmoid is the layer's density."""
        density = float(self._densities[path].numpy())
        return np.full(self._shapes[path], np.log(density / (1 - density)))

    def restart(self, iteration: int) -> None:
        """Sets scores and the constraint's weight."""
        super().restart(iteration)
        self._weight.assign(0.0)

    def soft(self, path: str, weight: "tf.Tensor", score: "tf.Tensor") -> "tf.Tensor":
        """Returns weights times a drawn mask; outside of training those of the highest scores."""
        weight = tf.stop_gradient(tf.cast(weight, tf.float32))
        if keras_internals.in_training():
            drawn = self.noise(path)
            logit = tf.math.log(drawn) - tf.math.log1p(-drawn)
            return weight * tf.sigmoid((score + logit) / TEMPERATURE)
        count = tf.cast(tf.round(self._densities[path] * score.shape.num_elements()), tf.int32)
        return weight * tf.cast(largest.at_least_kth(tf.sigmoid(score), count), tf.float32)

    def learning_rate(self, rate: "tf.Tensor", iteration: "tf.Tensor") -> "tf.Tensor":
        """Returns that of the scores, a tenth of it at the end."""
        late = iteration >= round(DROP * self._method.stop(self.config))
        own = super().learning_rate(rate, iteration)
        return tf.where(self.active & late, 0.1 * own, own)

    def loss(
        self, loss: "tf.Tensor", inputs: "tf.Tensor", logits: "tf.Tensor", iteration: "tf.Tensor"
    ) -> "tf.Tensor":
        """Returns 100 times the divergence from the whole network's outputs in a search."""

        def divergence() -> "tf.Tensor":
            with self.whole_network():
                whole = tf.stop_gradient(self.model(inputs, training=True))
            wanted = tf.nn.log_softmax(tf.cast(whole, tf.float32))
            found = tf.nn.log_softmax(tf.cast(logits, tf.float32))
            each = tf.reduce_sum(tf.exp(wanted) * (wanted - found), -1)
            return 100.0 * tf.reduce_mean(each)

        return tf.cond(self.active, divergence, lambda: loss)

    def search(self, scores: "Gradients", apply: "Callable[[Gradients], None]") -> None:
        """Adds the constraint's gradient while it is not met."""
        names = {f"{path}{SCORE}": path for path in self.paths}
        likely = {name: tf.sigmoid(self.scores[path].value) for name, path in names.items()}
        target = SLACK * tf.add_n(
            [self._densities[path] * self.scores[path].shape.num_elements() for path in self.paths]
        )
        kept = tf.add_n([tf.reduce_sum(p) for p in likely.values()])
        over = kept > target
        slopes = {name: 100.0 * p * (1.0 - p) / target for name, p in likely.items()}
        ratio = tf.linalg.global_norm(list(scores.values())) / tf.linalg.global_norm(
            list(slopes.values())
        )
        weight = tf.where(over, 0.99 * self._weight + 0.01 * ratio, self._weight)
        self._weight.assign(weight)
        push = tf.where(over, weight, 0.0)
        apply({name: gradient + push * slopes[name] for name, gradient in scores.items()})
