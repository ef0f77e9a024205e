"""One-shot pruning: each level is pruned from the dense network at once."""

import dataclasses

from lth_tf.methods import register
from lth_tf.methods.train_and_prune import TrainAndPrune


@register("oneshot")
@dataclasses.dataclass(frozen=True)
class OneShot(TrainAndPrune):
    """Trains the dense network once, and each level's ticket from the origin.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2 and Figure 1.
    """

    @property
    def one_shot(self) -> bool:
        """True: from the dense network at once."""
        return True

    def label(self) -> str:
        """Returns the method in words."""
        return "one-shot"
