"""Methods whose masks come from a search before each level's ticket."""

import dataclasses
from typing import TYPE_CHECKING

import numpy as np

from lth_tf import pruning
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Weights
from lth_tf.methods.densities import AtDensities
from lth_tf.methods.scores import SCORE
from lth_tf.runs.stage import SEARCH, Stage

if TYPE_CHECKING:
    from lth_tf.methods.base import Ticket


@dataclasses.dataclass(frozen=True)
class Searched(AtDensities):
    """The ticket of a level has the weights of the highest scores of its search, rewound.

    A subclass says what a search starts from and how scores are trained.
    """

    def searches(self, level: int) -> bool:
        """Returns True but for the dense network."""
        return bool(level)

    def search(self, level: int, context: Context) -> "Ticket":
        """Returns what the search starts from."""
        raise NotImplementedError(f"{type(self).__name__}.search")

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns masks of the highest scores, exact in their number, and the origin."""
        origin = context.run_dir.origin()
        if not level:
            return context.dense, origin
        found = context.run_dir.trained(Stage(level, SEARCH))
        sizes = {path: np.size(mask) for path, mask in context.dense.items()}
        rates = self.rates_of(level, sizes, context.rates)
        scores = {path: found[f"{path}{SCORE}"] for path in rates}
        dense = {path: np.ones_like(context.dense[path]) for path in rates}
        masks = pruning.choose(scores, dense, rates, context.config.scope)
        return context.dense | masks, origin
