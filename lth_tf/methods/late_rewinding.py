"""Late rewinding: iterative pruning back to an iteration early in training."""

import dataclasses

from lth_tf.methods import register
from lth_tf.methods.train_and_prune import TrainAndPrune
from lth_tf.options import option


@register("late_rewinding")
@dataclasses.dataclass(frozen=True)
class LateRewinding(TrainAndPrune):
    """Trains, prunes, and puts the rest back to iteration k, where the network has become stable.

    By default that iteration is found, see `lth_tf.tickets.stability`.

    Source:
        Frankle et al. 2020, arXiv:1912.05671, section 4 (IMP with rewinding).
    """

    rewind: str = option(
        "auto",
        "Start levels from the weights at rewind_iteration; auto: at the first iteration at "
        "which the dense network is stable to the order of its batches.",
        choices=("iteration", "auto"),
    )

    def __post_init__(self) -> None:
        if self.rewind_iteration:
            object.__setattr__(self, "rewind", "iteration")
        super().__post_init__()

    def label(self) -> str:
        """Returns the method in words."""
        return "late rewinding"
