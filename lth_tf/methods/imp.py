"""Iterative magnitude pruning: train, prune, rewind, again."""

import dataclasses
from typing import TYPE_CHECKING

from lth_tf import pruning
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.methods import register
from lth_tf.methods.base import Context, Method, Shapes, Weights
from lth_tf.options import option
from lth_tf.runs.stage import Stage

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig


@register("imp")
@dataclasses.dataclass(frozen=True)
class IMP(Method):
    """Trains, prunes what the criterion scores lowest, and puts the rest back.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2 (iterative and one-shot), appendix B
        (continued training); Frankle et al. 2020, arXiv:1912.05671 (rewinding to iteration
        k); Renda et al. 2020, arXiv:2003.02389 (start=continue: learning-rate rewinding).
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
    rewind_iteration: int = option(
        0, "Iteration whose weights every level starts from; 0 is initialization.", minimum=0
    )

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses to rewind to an iteration that is not reached."""
        iterations = getattr(config, "iterations", None)
        if iterations is not None and self.rewind_iteration >= iterations:
            raise UsageError(
                f"Expected rewind_iteration below iterations={iterations}. "
                f"Received: rewind_iteration={self.rewind_iteration}."
            )

    def label(self) -> str:
        """Returns strategy and start in words."""
        words = {"oneshot": "one-shot"}.get(self.strategy, self.strategy)
        return words + (", continued" if self.start == "continue" else "")

    def plan(self, shapes: Shapes, rates: dict[str, float], config: "ProcedureConfig") -> list[int]:
        """Returns the number of weights remaining at levels 0, 1, ..."""
        return pruning.plan(
            shapes,
            rates,
            levels=config.levels,
            scope=config.scope,
            cumulative=self.strategy == "oneshot",
        )

    def rewind(self, config: "ProcedureConfig") -> int:
        """Returns the iteration whose weights are the origin."""
        return self.rewind_iteration

    def needs(self, level: int) -> int | None:
        """Returns the level before, or with one-shot pruning the dense one."""
        if not level:
            return None
        return 0 if self.strategy == "oneshot" else level - 1

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns what pruning the level it needs gives, and origin or trained weights."""
        run_dir = context.run_dir
        if not level:
            return context.dense, run_dir.origin()
        source = Stage(self.needs(level))
        rounds = level if self.strategy == "oneshot" else 1
        done = run_dir.has(Stage(level))
        # Before the weights to start from are read: both need memory of the weights' size.
        masks = run_dir.mask(Stage(level)) if done else context.prune(source, level, rounds)
        return masks, run_dir.trained(source) if self.start == "continue" else run_dir.origin()
