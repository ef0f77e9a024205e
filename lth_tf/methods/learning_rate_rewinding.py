"""Learning-rate rewinding: trained weights stay, the schedule starts again."""

import dataclasses

from lth_tf.methods import register
from lth_tf.methods.train_and_prune import TrainAndPrune


@register("learning_rate_rewinding")
@dataclasses.dataclass(frozen=True)
class LearningRateRewinding(TrainAndPrune):
    """Trains, prunes, and trains on from the trained weights with the rates from iteration k on.

    `rewind_iteration` is k: with 0 the whole schedule is gone through again.

    Source:
        Renda et al. 2020, arXiv:2003.02389, section 4 (learning-rate rewinding).
    """

    @property
    def continues(self) -> bool:
        """True: from the trained weights."""
        return True

    def label(self) -> str:
        """Returns the method in words."""
        return "learning-rate rewinding"
