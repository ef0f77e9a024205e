"""What methods share that train a network, prune it, and train again."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lth_tf import pruning
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Method, Shapes, Weights
from lth_tf.options import option
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.runs.stage import Stage

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig


@dataclasses.dataclass(frozen=True)
class TrainAndPrune(Method):
    """Trains, prunes what the criterion scores lowest, and trains what is left."""

    takes_granularity: ClassVar[bool] = True

    rewind: str = option(
        "iteration",
        "Start levels from the weights at rewind_iteration; auto: at the first iteration at "
        "which the dense network is stable to the order of its batches.",
        choices=("iteration", "auto"),
    )
    rewind_iteration: int = option(
        0, "Iteration whose weights every level starts from; 0 is initialization.", minimum=0
    )

    @property
    def one_shot(self) -> bool:
        """Whether each level is pruned from the dense network at once."""
        return False

    @property
    def continues(self) -> bool:
        """Whether a level starts from trained weights, not from the origin's."""
        return False

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses to rewind to an iteration that is not reached."""
        iterations = config.iterations
        if iterations is not None and self.rewind_iteration >= iterations:
            raise UsageError(
                f"Expected rewind_iteration below iterations={iterations}. "
                f"Received: rewind_iteration={self.rewind_iteration}."
            )
        if self.rewind == "auto" and (self.rewind_iteration or iterations is None):
            raise UsageError(
                "Expected rewind=auto without rewind_iteration, and not in fit. Received: "
                f"rewind=auto, rewind_iteration={self.rewind_iteration}."
            )

    def plan(
        self,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> list[int]:
        """Returns the number of weights remaining at levels 0, 1, ..."""
        return pruning.plan(
            shapes,
            rates,
            levels=config.levels,
            scope=config.scope,
            cumulative=self.one_shot,
            units=units,
        )

    def origin_iteration(self, config: "ProcedureConfig") -> int | None:
        """Returns the iteration whose weights are the origin; None where it is to be found."""
        return None if self.rewind == "auto" else self.rewind_iteration

    def needs(self, level: int) -> int | None:
        """Returns the level before, or with one-shot pruning the dense one."""
        if not level:
            return None
        return 0 if self.one_shot else level - 1

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns what pruning the level it needs gives, and origin or trained weights."""
        run_dir = context.run_dir
        needed = self.needs(level)
        if needed is None:
            return context.dense, run_dir.origin()
        source = Stage(needed)
        rounds = level if self.one_shot else 1
        done = run_dir.has(Stage(level))
        # Before the weights to start from are read: both need memory of the weights' size.
        masks = run_dir.mask(Stage(level)) if done else context.prune(source, level, rounds)
        return masks, run_dir.trained(source) if self.continues else run_dir.origin()
