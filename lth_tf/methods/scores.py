"""What methods share that train a score beside each weight."""

import contextlib
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

import numpy as np

from lth_tf.lazy import lazy_imports
from lth_tf.masking.rule import Effective
from lth_tf.methods.hooks import Hooks
from lth_tf.runs.stage import SEARCH
from lth_tf.seeding import generator, stream_seed

with lazy_imports():
    import tensorflow as tf

    from lth_tf.masking import model as masking

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig
    from lth_tf.methods.base import Ticket
    from lth_tf.methods.hooks import Gradients

SCORE = "#score"
"""What follows a weight's path in the name of its score."""


class ScoreRule(Effective):
    """The effective weight: of the score while scores are trained, else that of the mask.

    Args:
        active: scalar; whether scores are trained.
        soft: makes the effective weight of a stored weight and its score.
    """

    def __init__(self, active: "tf.Variable", soft: Callable):
        self._active = active
        self._soft = soft

    def build(self, weight: "keras.Variable", add_variable: Callable) -> dict:
        """Makes the score, of the weight's shape."""
        return {"score": add_variable("score", weight.shape, "zeros")}

    def __call__(self, weight: "tf.Tensor", mask: "tf.Tensor", state: dict) -> "tf.Tensor":
        """Returns the effective weight."""
        weight = tf.convert_to_tensor(weight)
        return tf.cond(
            self._active,
            lambda: tf.cast(self._soft(weight, tf.cast(state["score"], tf.float32)), weight.dtype),
            lambda: tf.where(tf.cast(mask, tf.bool), weight, tf.zeros((), weight.dtype)),
        )


class ScoreHooks(Hooks):
    """Trains scores in the stages that a subclass names, and weights in the others.

    Args:
        model: the masked network.
        rates: weight path -> prune rate; what has none is left dense.
        config: iterations, learning rate and seed.
        rate: learning rate of the scores; 0 for that of the weights.
    """

    trains_weights = False

    def __init__(
        self,
        model: "keras.Model",
        rates: dict[str, float],
        config: "ProcedureConfig",
        rate: float = 0.0,
    ):
        self.model = model
        self.config = config
        self._rate = rate
        self.active = tf.Variable(False, trainable=False)
        self.iteration = tf.Variable(0, trainable=False)
        self._whole = False
        self.paths = [path for path in masking.masked_slots(model) if rates[path]]
        for path in self.paths:
            masking.set_effective(model, ScoreRule(self.active, self._rule(path)), [path])
        states = masking.effective_states(model)
        self.scores = {path: states[path]["score"] for path in self.paths}
        self.variables = [self.active, self.iteration, *self.scores.values()]
        self._ticket: Ticket | None = None

    @property
    def ticket(self) -> "Ticket":
        """What the stage starts from."""
        if self._ticket is None:
            raise RuntimeError("Expected begin before a stage is trained.")
        return self._ticket

    def learns(self, ticket: "Ticket") -> bool:
        """Returns whether scores are trained in a stage."""
        return ticket.stage.control == SEARCH

    def initial(self, path: str) -> np.ndarray:
        """Returns what the score of a weight starts from."""
        raise NotImplementedError

    def soft(self, path: str, weight: "tf.Tensor", score: "tf.Tensor") -> "tf.Tensor":
        """Returns what layers compute with while scores are trained."""
        raise NotImplementedError

    def length(self) -> int:
        """Returns the last iteration of the stage."""
        return self.ticket.stop or self.config.known_iterations()

    def noise(self, path: str) -> "tf.Tensor":
        """Returns random numbers in (0, 1) of a weight's shape, others at each iteration."""
        seed = stream_seed(self.config.seed, "scores", path)
        shape = self.scores[path].shape
        seeds = tf.stack([seed, self.iteration.value()])
        return tf.random.stateless_uniform(shape, seeds, minval=1e-7, maxval=1 - 1e-7)

    def random(self, path: str) -> np.random.Generator:
        """Returns the random stream of a weight's initial score."""
        stage = self.ticket.stage
        return generator(self.config.seed, "score", path, stage.level)

    @contextlib.contextmanager
    def whole_network(self) -> Iterator[None]:
        """Calls of the model are those of the stored weights, whatever their scores."""
        self._whole = True
        try:
            yield
        finally:
            self._whole = False

    def begin(self, ticket: "Ticket") -> None:
        """Says whether the stage trains scores; then its last evaluation is what counts."""
        self._ticket = ticket
        learns = self.learns(ticket)
        self.active.assign(learns)
        self.early_stop_from = self.length() if learns else 0

    def restart(self, iteration: int) -> None:
        """Sets the scores."""
        if self._ticket is not None and self.learns(self._ticket):
            for path, score in self.scores.items():
                score.assign(self.initial(path).astype(np.float32))

    def before_update(self, iteration: "tf.Tensor") -> None:
        """Notes the iteration, which random numbers depend on."""
        self.iteration.assign(iteration)

    def learning_rate(self, rate: "tf.Tensor", iteration: "tf.Tensor") -> "tf.Tensor":
        """Returns that of the scores while they are trained."""
        return tf.where(self.active, self._rate, rate) if self._rate else rate

    def update(
        self, iteration: "tf.Tensor", gradients: "Gradients", apply: "Callable[[Gradients], None]"
    ) -> None:
        """Updates scores or weights; both where a method trains both."""
        if self.trains_weights:
            apply(gradients)
            return
        scores = {name: g for name, g in gradients.items() if name.endswith(SCORE)}
        weights = {name: g for name, g in gradients.items() if name not in scores}
        tf.cond(self.active, done(lambda: self.search(scores, apply)), done(lambda: apply(weights)))

    def search(self, scores: "Gradients", apply: "Callable[[Gradients], None]") -> None:
        """Updates the scores, whose gradients are given."""
        apply(scores)

    def learned(self) -> dict[str, np.ndarray]:
        """Returns the scores of a search, which its level's masks are made from."""
        if self.ticket.stage.control != SEARCH:
            return {}
        return {f"{path}{SCORE}": masking.to_numpy(score) for path, score in self.scores.items()}

    def _rule(self, path: str) -> Callable:
        def rule(weight: "tf.Tensor", score: "tf.Tensor") -> "tf.Tensor":
            return weight if self._whole else self.soft(path, weight, score)

        return rule


def done(function: Callable[[], object]) -> Callable[[], "tf.Tensor"]:
    """Returns a branch of `tf.cond` that only does something."""

    def branch() -> "tf.Tensor":
        function()
        return tf.constant(True)

    return branch


def fan_in(shape: tuple[int, ...]) -> int:
    """Returns how many inputs a unit of a layer has.

    Example:
    >>> fan_in((784, 300)), fan_in((3, 3, 16, 32))
    (784, 144)
    """
    return int(np.prod(shape[:-1]))
