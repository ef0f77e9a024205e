"""Methods that train one network for each density asked for."""

import dataclasses
from typing import TYPE_CHECKING

from lth_tf import pruning
from lth_tf.errors import UsageError
from lth_tf.methods.base import Method, Shapes
from lth_tf.options import option
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.pruning.select import size

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig


@dataclasses.dataclass(frozen=True)
class AtDensities(Method):
    """Level 0 is the dense network, each further level one training at one density.

    The prune rates say how a density is shared out: all groups are pruned as the same,
    possibly fractional, number of levels would prune them.
    """

    final_density: tuple[float, ...] = option(
        (0.036,),
        "Fractions of the prunable weights kept in the end, comma-separated; "
        "each is a training of its own.",
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.final_density or not all(0 < density < 1 for density in self.final_density):
            raise UsageError(
                "Expected final_density to be fractions between 0 and 1. "
                f"Received: final_density={','.join(map(str, self.final_density))}."
            )

    def levels(self, config: "ProcedureConfig") -> int:
        """Returns the number of densities."""
        return len(self.final_density)

    def needs(self, level: int) -> int | None:
        """Returns None: a level needs no other."""
        return None

    def plan(
        self,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> list[int]:
        """Returns the number of weights remaining at levels 0, 1, ..."""
        total = sum(map(size, shapes.values()))
        unpruned = sum(size(shape) for path, shape in shapes.items() if not rates[path])
        levels = range(1, self.levels(config) + 1)
        pools = [self.pools(level, shapes, rates, config, *units.arguments) for level in levels]
        return [total, *(unpruned + sum(kept for _, kept in p.values()) for p in pools)]

    def pools(
        self,
        level: int,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> dict[str, tuple[list[str], int]]:
        """Returns what is ranked together: pool -> paths of its weights, number of those kept.

        Args:
            level: 1 is the first density.
            shapes: weight path -> shape of every prunable weight.
            rates: weight path -> how the density is shared out; those of rate 0 are left out.
            config: scope.
            units: what is kept or pruned as one.

        Raises:
            UsageError: if a layer would lose its last weight.
        """
        sizes = {path: size(shape) for path, shape in shapes.items()}
        after = self.rates_of(level, sizes, rates)
        whole = {name: size(shape) for name, shape in units.shapes(shapes).items()}
        found = pruning.pools(whole, after, shapes, config.scope, units)
        for pool, (_, kept) in found.items():
            if not kept:
                raise emptied(self.final_density[level - 1], pool)
        return found

    def rates_of(
        self, level: int, sizes: dict[str, int], rates: dict[str, float], part: float = 1.0
    ) -> dict[str, float]:
        """Returns weight path -> fraction of the dense weights pruned, but for those of rate 0.

        Args:
            level: 1 is the first density.
            sizes: weight path -> number of weights.
            rates: weight path -> how the density is shared out.
            part: of the way there, in the exponent: half the way to 1 % are 10 %.
        """
        levels = part * levels_to(sizes, rates, self.final_density[level - 1])
        return {path: 1 - (1 - rate) ** levels for path, rate in rates.items() if rate}


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
    levels = levels_to(sizes, rates, density)
    kept = {
        path: round(n * (1 - rates[path]) ** levels) for path, n in sizes.items() if rates[path]
    }
    for path, count in kept.items():
        if count == 0:
            raise emptied(density, path)
    return kept


def rates_to(
    sizes: dict[str, int], rates: dict[str, float], density: float, levels: int
) -> dict[str, float]:
    """Returns prune rates that reach a density at a level.

    Args:
        sizes: weight path -> number of weights.
        rates: weight path -> how the density is shared out, see `kept_weights`.
        density: fraction of all the weights that the last level keeps.
        levels: the last level.

    Raises:
        UsageError: if what is not pruned is more than that.

    Example:
    >>> rates_to({"fc": 100}, {"fc": 0.5}, 0.25, levels=1)
    {'fc': 0.75}
    """
    part = levels_to(sizes, rates, density, name="target_density") / levels
    return {path: round(1 - (1 - rate) ** part, 12) for path, rate in rates.items()}


def levels_to(
    sizes: dict[str, int], rates: dict[str, float], density: float, name: str = "final_density"
) -> float:
    """Returns the number of levels, possibly fractional, after which a density is reached.

    Args:
        sizes: weight path -> number of weights.
        rates: weight path -> fraction of its remaining weights pruned a level.
        density: fraction of all the weights to keep.
        name: the argument that the density is given by.

    Raises:
        UsageError: if what is not pruned is more than that.

    Example:
    >>> round(levels_to({"fc": 100}, {"fc": 0.5}, 0.25), 6)
    2.0
    """
    pruned = {path: size for path, size in sizes.items() if rates[path]}
    target = density * sum(sizes.values())
    fixed = sum(sizes.values()) - sum(pruned.values())

    def after(levels: float) -> float:
        return fixed + sum(size * (1 - rates[path]) ** levels for path, size in pruned.items())

    if fixed >= target:
        raise UsageError(
            f"Expected {name} above {fixed / sum(sizes.values()):.4g}, the share of the "
            f"weights whose prune rate is 0. Received: {name}={density:g}."
        )
    low, high = 0.0, 1.0
    while after(high) > target:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (middle, high) if after(middle) > target else (low, middle)
    return high


def emptied(density: float, path: str) -> UsageError:
    """Returns what is said of a density that would prune all of a layer."""
    return UsageError(
        f"Expected every layer to keep at least one weight. Received: final_density="
        f"{density:g}, which would prune the last weight of {path!r}."
    )
