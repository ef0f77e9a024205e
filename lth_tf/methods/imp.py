"""Iterative magnitude pruning: train, prune, rewind, again."""

import dataclasses

from lth_tf.methods import register
from lth_tf.methods.train_and_prune import TrainAndPrune
from lth_tf.options import option


@register("imp")
@dataclasses.dataclass(frozen=True)
class IMP(TrainAndPrune):
    """Trains, prunes what the criterion scores lowest, and puts the rest back.

    What its options can be together has names too: `late_rewinding`, `learning_rate_rewinding`,
    `oneshot`.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2 (iterative and one-shot), appendix B
        (continued training).
    """

    strategy: str = option(
        "iterative",
        "Prune the level before, or the dense network to each level's size in one shot.",
        choices=("iterative", "oneshot"),
    )
    start: str = option(
        "rewind",
        "Start a level from the origin's weights, or continue from the trained ones.",
        choices=("rewind", "continue"),
    )

    @property
    def one_shot(self) -> bool:
        """Whether each level is pruned from the dense network at once."""
        return self.strategy == "oneshot"

    @property
    def continues(self) -> bool:
        """Whether a level starts from trained weights, not from the origin's."""
        return self.start == "continue"

    def label(self) -> str:
        """Returns strategy and start in words."""
        words = {"oneshot": "one-shot"}.get(self.strategy, self.strategy)
        return words + (", continued" if self.continues else "")
