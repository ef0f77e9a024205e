"""A run's network with its data: takes any weights, evaluates them, and trains tickets again."""

import dataclasses
import functools
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Method, Ticket, Weights

if TYPE_CHECKING:
    import keras

    from lth_tf.datasets import Data

with lazy_imports():
    from lth_tf.masking import model as masked
    from lth_tf.training import derivatives, trainer

SPLIT = "validation"
"""What networks are evaluated on: it is no part of training, and leaves the test data alone."""


class Bench:
    """What analyses of a network's behaviour ask.

    Args:
        new_model: returns the masked network of the run's config.
        data: what the run was trained on.
        config: of the run.
        ticket: returns what a level of the run starts from.
        jit: see `lth_tf.training.trainer.Trainer`.
        step: the same; how tickets are trained.
    """

    def __init__(
        self,
        new_model: "Callable[[], keras.Model]",
        data: "Data",
        config: ExperimentConfig,
        ticket: Callable[[int], Ticket],
        jit: str = "auto",
        step: str = "auto",
    ) -> None:
        self._new_model = new_model
        self._data = data
        self.config = config
        self.ticket = ticket
        self._jit, self._step = jit, step
        self._learners: dict[int, trainer.Trainer] = {}
        self._derivatives: dict[int, derivatives.DataDerivatives] = {}

    def evaluate(self, weights: Weights) -> tuple[float, float]:
        """Returns mean loss and error, a fraction, of weights on the validation data.

        Args:
            weights: path -> array of every weight, pruned weights as 0.
        """
        return evaluated(self._judge, weights)

    def train(self, ticket: Ticket, order: int | None = None) -> tuple[Weights, float]:
        """Returns the weights that a ticket is trained to, and their test accuracy, a fraction.

        Args:
            ticket: what to start from.
            order: seed of the order of batches and of augmentation; None for the run's own.

        Raises:
            UsageError: if the run's method does more than train a ticket.
            RunError: if a loss is not finite.
        """
        method = self.config.method
        if type(method).hooks is not Method.hooks:
            raise UsageError(
                "Expected a run whose tickets are trained as they are. Received: the method "
                f"{method.label()}, which takes part in every update."
            )
        learner = self._learner(self.config.seed if order is None else order)
        masked.set_masks(learner.model, ticket.masks)
        masked.set_weights(learner.model, ticket.weights)
        history = learner.fit(ticket.start)
        return masked.get_weights(learner.model), history.final_test_accuracy

    def hessian_product(self, examples: int) -> Callable[[Weights, Masks, Weights], Weights]:
        """Returns a function (weights, masks, direction) -> Hessian * direction.

        Args:
            examples: training examples a class, the first in the order of training.
        """
        if examples not in self._derivatives:
            self._derivatives[examples] = derivatives.DataDerivatives(
                self._new_model, self._data, self.config, examples
            )
        return self._derivatives[examples].hessian_product

    @functools.cached_property
    def _judge(self) -> "trainer.Trainer":
        """Evaluates; its masks stay ones, so that weights are taken as they are."""
        return trainer.Trainer(self._new_model(), self._data, self.config, self._jit)

    def _learner(self, seed: int) -> "trainer.Trainer":
        if seed not in self._learners:
            config = dataclasses.replace(self.config, seed=seed)
            self._learners[seed] = trainer.Trainer(
                self._new_model(), self._data, config, self._jit, step=self._step
            )
        return self._learners[seed]


def evaluated(judge: "trainer.Trainer", weights: Weights) -> tuple[float, float]:
    """Returns mean loss and error, a fraction, of weights on the validation data.

    Statistics of batch normalization are estimated anew, on training data.

    Args:
        judge: evaluates its model, whose weights are changed; its masks should be ones.
        weights: path -> array; paths that the model does not have are left out.
    """
    paths = masked.weight_variables(judge.model)
    masked.set_weights(judge.model, {p: np.asarray(weights[p]) for p in paths if p in weights})
    judge.settle_statistics()
    loss, accuracy = judge.evaluate(SPLIT)
    return loss, 1 - accuracy
