"""Gradual magnitude pruning: ever more weights go while the network trains."""

import dataclasses
from typing import TYPE_CHECKING, ClassVar

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.methods import register
from lth_tf.methods.base import Context, Method, Ticket, Weights
from lth_tf.options import option

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig


@register("gradual")
@dataclasses.dataclass(frozen=True)
class Gradual(Method):
    """Prunes the smallest weights while the network trains, down to a final density.

    At iteration t the fraction s * (1 - (1 - (t - first) / (last - first)) ** 3) is pruned,
    where s is the fraction pruned in the end. Level 0 is the dense network, each further
    level one training down to one final density.

    The prune rates say how the final density is shared out: all groups are pruned as
    the same, possibly fractional, number of levels would prune them.

    Source:
        Zhu & Gupta 2017, arXiv:1710.01878, section 3. They begin once the network has
        trained for some iterations, see no difference between 100 and 1,000
        iterations from one pruning to the next, and train on after the last. Where it
        begins and ends depends on the task: here after a tenth and a half of the training.
    """

    finds_tickets: ClassVar[bool] = False

    final_density: tuple[float, ...] = option(
        (0.036,),
        "Fractions of the prunable weights kept in the end, comma-separated; "
        "each is a training of its own.",
    )
    prune_begin: float = option(
        0.1, "Fraction of the training after which pruning begins.", minimum=0.0, below=1.0
    )
    prune_end: float = option(
        0.5,
        "Fraction of the training after which it ends; the rest is at the final density.",
        minimum=0.0,
        maximum=1.0,
    )
    prune_frequency: int = option(100, "Iterations from one pruning to the next.", minimum=1)

    def __post_init__(self):
        super().__post_init__()
        if not self.final_density or not all(0 < density < 1 for density in self.final_density):
            raise UsageError(
                "Expected final_density to be fractions between 0 and 1. "
                f"Received: final_density={','.join(map(str, self.final_density))}."
            )

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses too short a training, and ranking the weights of all layers together."""
        if config.scope != "layerwise":
            raise UsageError(
                "Expected scope=layerwise: gradual pruning prunes each layer by its own count. "
                f"Received: scope={config.scope}."
            )
        if config.kind == "fit":
            raise UsageError(
                "Expected a method that works between the levels of fit. Received: method=gradual, "
                "which prunes in the middle of a training. Use find_tickets."
            )
        self.prunings(config.iterations)

    def label(self) -> str:
        """Returns the method in words."""
        return "gradual pruning"

    def details(self, config: "ProcedureConfig") -> str:
        """Returns when weights are pruned."""
        prunings = self.prunings(config.iterations)
        return f"Pruned from iteration {prunings[0]:,} to {prunings[-1]:,}, every {prunings.step:,}"

    def levels(self, config: "ProcedureConfig") -> int:
        """Returns the number of final densities."""
        return len(self.final_density)

    def needs(self, level: int) -> None:
        """Returns None: a level prunes the network that it trains itself."""
        return None

    def prunings(self, iterations: int) -> range:
        """Returns the iterations at which weights are pruned, the last at the final density.

        Pruning at iteration t comes before the t-th update, the first update being 1.

        Args:
            iterations: those of a training.

        Raises:
            UsageError: if there is room for fewer than two.
        """
        first = max(1, round(self.prune_begin * iterations))
        room = round(self.prune_end * iterations) - first
        steps = room // self.prune_frequency
        if steps < 1:
            raise UsageError(
                f"Expected at least prune_frequency={self.prune_frequency} iterations from "
                f"prune_begin to prune_end. Received: prune_begin={self.prune_begin:g}, "
                f"prune_end={self.prune_end:g} of {iterations} iterations."
            )
        return range(first, first + steps * self.prune_frequency + 1, self.prune_frequency)

    def plan(
        self, sizes: dict[str, int], rates: dict[str, float], config: "ProcedureConfig"
    ) -> list[int]:
        """Returns the number of weights remaining at levels 0, 1, ..."""
        total = sum(sizes.values())
        kept = [kept_weights(sizes, rates, density) for density in self.final_density]
        return [total, *(sum((sizes | level).values()) for level in kept)]

    def finish(self, ticket: Ticket, weights: Weights, context: Context) -> Masks:
        """Returns where weights are left."""
        if not ticket.stage.level:
            return ticket.masks
        pruned = [path for path, rate in context.rates.items() if rate]
        return ticket.masks | {path: (weights[path] != 0).astype("uint8") for path in pruned}


def kept_weights(sizes: dict[str, int], rates: dict[str, float], density: float) -> dict[str, int]:
    """Returns weight path -> number of weights kept, so that all together have a density.

    All weights are pruned as the same, possibly fractional, number of levels would, so
    layers of a network are as dense as those of its ticket of the same size.

    Args:
        sizes: weight path -> number of weights.
        rates: weight path -> fraction of its remaining weights pruned a level; those
            of rate 0 stay as they are and are left out of the result.
        density: fraction of all the weights to keep.

    Raises:
        UsageError: if what is not pruned is more than that, or a layer would lose its
            last weight.

    Example:
    >>> kept_weights({"fc": 900, "output": 100}, {"fc": 0.5, "output": 0.0}, 0.325)
    {'fc': 225}
    """
    pruned = {path: size for path, size in sizes.items() if rates[path]}
    target = density * sum(sizes.values())
    fixed = sum(sizes.values()) - sum(pruned.values())

    def after(levels: float) -> dict[str, float]:
        return {path: size * (1 - rates[path]) ** levels for path, size in pruned.items()}

    if fixed >= target:
        raise UsageError(
            f"Expected final_density above {fixed / sum(sizes.values()):.4g}, the share of the "
            f"weights whose prune rate is 0. Received: final_density={density:g}."
        )
    low, high = 0.0, 1.0
    while fixed + sum(after(high).values()) > target:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if fixed + sum(after(middle).values()) > target else (low, middle)
        )
    kept = {path: round(count) for path, count in after(high).items()}
    for path, count in kept.items():
        if count == 0:
            raise UsageError(
                f"Expected every layer to keep at least one weight. Received: final_density="
                f"{density:g}, which would prune the last weight of {path!r}."
            )
    return kept
