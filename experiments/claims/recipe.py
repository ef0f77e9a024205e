"""The commands that train what every figure of the paper needs, with their cost.

Cost here: measured speeds of two cores of an AMD EPYC. Cost on a GPU: an estimate, nothing was
run on one.
"""

import dataclasses
import math
import textwrap
from collections.abc import Mapping, Sequence
from typing import Any

from lth_tf.cli.program import command
from lth_tf.config import CONTROLS, ExperimentConfig

from .appendices import ADAM, CONTINUED, MOMENTUM, SGD, prune_rates
from .trained import Needed

_DEEP = ("vgg19", "resnet18")
_CONV = ("conv2", "conv4", "conv6")
# Iterations a second of the dense network on two cores; conv4's is estimated from the other two.
_SPEEDS = {
    "lenet": 2 * 1900,
    "conv2": 15.6,
    "conv4": 9,
    "conv6": 6.5,
    "resnet18": 6.0,
    "vgg19": 2.1,
}
# LeNet's steps on the remaining weights alone: density -> times as fast, with evaluations.
_SPARSE = (
    (1.0, 1.0),
    (0.64, 1.29),
    (0.41, 1.91),
    (0.21, 3.39),
    (0.108, 6.71),
    (0.036, 13.4),
    (0.012, 36),
)
# Multiplications of a forward pass of one example, in millions.
_PRODUCTS = {
    "lenet": 0.266,
    "conv2": 43.8,
    "conv4": 98.3,
    "conv6": 153.9,
    "resnet18": 40.6,
    "vgg19": 398,
}
_GPU_FLOPS, _GPU_OVERHEAD = 8e12, 2e-4


@dataclasses.dataclass(frozen=True)
class Step:
    """A command of the recipe.

    Attributes:
        figures: what it is for.
        needed: config and controls, as claims need them.
        trials: seeds.
        levels: rounds of pruning.
    """

    figures: str
    needed: Needed
    trials: int
    levels: int

    @property
    def line(self) -> str:
        """The command line."""
        many = {"replicates": self.trials} if self.needed.masks_of is None else {}
        levels = {} if "level" in self.needed.more else {"levels": self.levels}
        more = {**many, **levels, **self.needed.more}
        return dataclasses.replace(self.needed, more=more).command

    @property
    def trainings(self) -> int:
        """How many trainings it is, of all trials."""
        return self.trials * sum(count for _, count in self._by_density())

    @property
    def core_hours(self) -> float:
        """Hours of one core of the machine that the speeds were measured on."""
        config = self.needed.config
        speed = _SPEEDS[config.network] / 2
        seconds = sum(
            count * config.iterations / (speed * _faster(config, density))
            for density, count in self._by_density()
        )
        return self.trials * seconds / 3600

    @property
    def gpu_hours(self) -> float:
        """An estimate: so many operations at 8e12 a second, and 0.2 ms an iteration."""
        config = self.needed.config
        operations = 6e6 * _PRODUCTS[config.network] * config.batch_size
        iteration = operations / _GPU_FLOPS + _GPU_OVERHEAD
        return self.trainings * config.iterations * iteration / 3600

    def _by_density(self) -> list[tuple[float, int]]:
        """Returns the density of each level, about, and its trainings with one seed."""
        more: Mapping[str, Any] = self.needed.more
        counts = {dataclasses.fields(kind)[0].name for kind in CONTROLS.items().values()}
        controls = sum(count for name, count in more.items() if name in counts)
        levels = len(more["level"]) if "level" in more else self.levels
        config = self.needed.config
        kept = 1 - max(config.prune_rate_fc, config.prune_rate_conv)
        return [(kept**level, 1 + controls) for level in range(levels + 1)]


def _faster(config: ExperimentConfig, density: float) -> float:
    """Returns how many times as fast as dense LeNet trains a density; others are not faster.

    Example:
    >>> lenet = ExperimentConfig()
    >>> [round(_faster(lenet, density), 2) for density in (0.9, 0.5, 0.21, 0.001)]
    [1.06, 1.6, 3.39, 36]
    """
    if config.network != "lenet":
        return 1.0
    for (d1, f1), (d0, f0) in zip(_SPARSE, _SPARSE[1:], strict=False):
        if density >= d0:
            share = math.log(density / d1) / math.log(d0 / d1)
            return math.exp(math.log(f1) + share * math.log(f0 / f1))
    return _SPARSE[-1][1]


def steps() -> list[Step]:
    """Returns the recipe, in the order of the figures."""
    found = [
        Step("1, 3, 4, 11, 12, 14", Needed("lenet", more={"reinits": 3, "random_masks": 2}), 5, 25),
        Step("4c", Needed("lenet", {"strategy": "oneshot"}, more={"reinits": 3}), 5, 20),
    ]
    controls = {"reinits": 3, "random_masks": 1}
    found += [Step("1, 5, 13, 14", Needed(name, more=controls), 5, 20) for name in _CONV]
    found += [Step("6", Needed(name, preset="dropout"), 5, 20) for name in _CONV]
    for figures, name in zip(("7, 14", "8, 14"), _DEEP, strict=True):
        for preset in ("", "low_lr", "warmup"):
            found.append(Step(figures, Needed(name, preset=preset, more=controls), 5, 20))
    found += _resetting()
    anatomy = {"survivor_reinits": 1, "prunings_at_init": 1, "reinits": 1}
    found.append(Step("17, 18", Needed("lenet", more=anatomy), 3, 20))
    for sigma in (0.5, 1.0, 2.0, 3.0):
        needed = Needed("lenet", {"noise_sigma": sigma}, more={"noises": 1, "reinits": 1})
        found.append(Step("25", needed, 3, 20))
    for figures, chosen in (("26", ADAM), ("27", SGD), ("28", MOMENTUM)):
        found += [Step(figures, needed, 3, 25) for needed in chosen.values() if needed.changes]
    for name, needed in prune_rates(0.1, 0.2, 0.4, 0.6, 0.8).items():
        if needed.changes:
            # As many rounds as keep 1 % of the weights.
            found.append(Step("29", needed, 3, round(math.log(0.01) / math.log(1 - float(name)))))
    return found + _convolutions() + _deep()


def _resetting() -> list[Step]:
    found = []
    for figures, name, levels in (("9", "lenet", 20), *(("10", name, 20) for name in _CONV)):
        continued = Needed(name, CONTINUED.changes)
        ticket = f"runs/{name}/start=continue/seed_0"
        more = {"ticket": ticket, "level": tuple(range(1, levels + 1))}
        found.append(Step(figures, continued, 3, levels))
        # One command a seed; that of seed 0 is printed.
        found.append(Step(figures, Needed(name, masks_of=continued, more=more), 3, levels))
    return found


def _convolutions() -> list[Step]:
    found = []
    for name in _CONV:
        for rate in (1e-4, 4e-4, 8e-4):
            found.append(Step("32", Needed(name, {"learning_rate": rate}), 3, 20))
        for optimizer, rate in (("sgd", 0.01), ("momentum", 0.002)):
            changes = {"optimizer": optimizer, "learning_rate": rate}
            found.append(Step("33, 34", Needed(name, changes), 3, 20))
        rate = 0.2 if name != "conv6" else 0.1
        found.append(Step("35", Needed(name, {"prune_rate_conv": rate}), 3, 20))
        found.append(Step("37", Needed(name, {"prune_rate_conv": 0.0}), 5, 20))
        changes = {"prune_rate_fc": 0.0, "prune_rate_output": 0.0}
        found.append(Step("37", Needed(name, changes), 5, 20))
    return found


def _deep() -> list[Step]:
    found = []
    for figures, name in zip(("38, 40", "39, 41"), _DEEP, strict=True):
        for preset in ("", "low_lr", "warmup"):
            found.append(Step(figures, Needed(name, {"scope": "layerwise"}, preset), 3, 20))
    for figures, name, rate in (("43", "vgg19", 0.03), ("42", "resnet18", 0.03)):
        found.append(Step(figures, Needed(name, {"learning_rate": rate}), 3, 20))
    for figures, name, rate in (("45", "vgg19", 0.1), ("44", "resnet18", 0.03)):
        changes = {"learning_rate": rate, "warmup_iterations": 5000}
        found.append(Step(figures, Needed(name, changes), 3, 20))
    return found


def text(chosen: Sequence[Step] | None = None) -> str:
    """Returns the recipe: a command, what it is for and its cost, and the sum."""
    chosen = steps() if chosen is None else chosen
    lines = []
    for step in chosen:
        lines.append(step.line)
        seeds = ", and so on for each seed" if step.needed.masks_of is not None else ""
        lines.append(
            f"    # Figure {step.figures}: {step.trainings:,} trainings, "
            f"{_hours(step.core_hours)} of a core, {_hours(step.gpu_hours)} of a GPU{seeds}"
        )
    analyze, claims = command("analyze"), command("claims")
    lines += [f"{analyze} runs/lenet", "    # Figure 15, 16, 19 to 24: of the runs above, minutes"]
    lines += [f"{claims} runs", "    # the claims of all of them"]
    cores, gpu = (
        sum(getattr(step, name) for step in chosen) for name in ("core_hours", "gpu_hours")
    )
    notes = (
        f"All of it: {cores:,.0f} hours of a core of an AMD EPYC at the speeds measured on two, "
        f"{gpu:,.0f} of a GPU. The latter is an estimate: 8e12 operations a second and 0.2 ms an "
        "iteration; nothing was run on one. Learning rates of Figures 32 to 34 and 42 to 45 are "
        "examples, the paper has more. Figure 2 is a table; 30 and 31, initial deviations and "
        "widths, have no flags: they are networks of your own."
    )
    return "\n".join([*lines, "", textwrap.fill(notes, 80)])


def _hours(hours: float) -> str:
    """Returns a duration in words.

    Example:
    >>> _hours(0.25), _hours(3.21), _hours(1234.5)
    ('15 min', '3.2 h', '1,234 h')
    """
    if hours < 1:
        return f"{60 * hours:.0f} min"
    return f"{hours:.1f} h" if hours < 100 else f"{hours:,.0f} h"
