"""What is trained next, and from what: the only place that knows the order."""

from collections.abc import Callable
from typing import TypeVar

import numpy as np

from lth_tf.config import CONTROLS, CRITERIA, ProcedureConfig
from lth_tf.controls.base import Control
from lth_tf.masking.arrays import Masks
from lth_tf.methods.base import Context, Ticket, Weights
from lth_tf.methods.densities import rates_to
from lth_tf.pruning.context import Network
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.runs.history import History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import FORK, ORIGIN, SEARCH, Stage


class Procedure:
    """The stages of one run, whatever trains them.

    Everything it says follows from the config and the files of the run directory, so it can
    be made anew at any time and goes on where the files end. Drivers ask
    `next`, train the ticket in their way, and hand over what it came to with `finish`.

    Args:
        config: method, controls, levels, criterion and scope.
        run_dir: where the stages lie; written by `finish`.
        dense: weight path -> uint8 array of ones, of the prunable weights.
        rates: weight path -> fraction of its remaining weights pruned a level.
        initial: returns the weights of the network before any training.
        new_weights: returns another initialization; its arguments name the random stream.
        rewind: how far the origin is trained, in the driver's unit (iterations, epochs).
        network: derivatives of the loss, for criteria that ask for them.
        units: what is kept or pruned as one.

    Attributes:
        plan: number of weights remaining at levels 0, 1, ...

    Raises:
        UsageError: if a layer would lose its last weight.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2.
    """

    def __init__(
        self,
        config: ProcedureConfig,
        run_dir: RunDir,
        *,
        dense: Masks,
        rates: dict[str, float],
        initial: Callable[[], Weights],
        new_weights: Callable[..., Weights],
        rewind: int = 0,
        network: Network | None = None,
        units: Units = EVERY_WEIGHT,
    ):
        self._config = config
        self._method = config.method
        self._run_dir = run_dir
        self._initial = initial
        self._context = Context(config, rates, dense, run_dir, rewind, new_weights, network, units)
        self.plan = plan(config, dense, rates, units)

    def stages(self) -> list[Stage]:
        """Returns all stages in the order in which they are trained."""
        trained = self._context.rewind and self._method.initial_weights() is None
        return ([ORIGIN] if trained else []) + stages(self._config)

    def needs(self, stage: Stage) -> list[Stage]:
        """Returns the stages that one is made from, beside the origin: all that `ticket` reads.

        A stage can be trained once these are done, in any order and beside others.
        """
        if stage == ORIGIN:
            return []
        method, level = self._method, stage.level
        origin = [ORIGIN] if ORIGIN in self.stages() else []
        source = method.needs(level)
        sources = [] if source is None else [Stage(source)]
        if stage.control == SEARCH:
            before = [Stage(k, SEARCH) for k in range(level) if method.searches(k)]
            return [*origin, *before[-1:], *sources]
        if not stage.control:
            search = [Stage(level, SEARCH)] if method.searches(level) else []
            return [*origin, *search, *sources]
        return [Stage(level), *self.needs(Stage(level))]

    def done(self, stage: Stage) -> bool:
        """True if a stage is on the disk.

        Raises:
            UsageError: if it is, but one of its files is missing or cut short.
        """
        if stage == ORIGIN:
            return self._run_dir.has_origin()
        return self._run_dir.has(stage)

    def next(self) -> Ticket | None:
        """Returns what the first stage that is not done starts from; None if all are done.

        Raises:
            UsageError: if a layer would lose its last weight, or a file is damaged.
        """
        stage = next((stage for stage in self.stages() if not self.done(stage)), None)
        return None if stage is None else self.ticket(stage)

    def ticket(self, stage: Stage) -> Ticket:
        """Returns what a stage starts from; what it needs must be done.

        Raises:
            UsageError: if a layer would lose its last weight, or a file is damaged.
        """
        context = self._context
        if stage == ORIGIN:
            return Ticket(stage, context.dense, self._initial(), stop=context.rewind)
        if not self._run_dir.has_origin():
            given = self._method.initial_weights()
            self._run_dir.save_origin(self._initial() if given is None else given)
        if stage.control == SEARCH:
            return self._method.search(stage.level, context)
        masks, weights = self._method.prepare(stage.level, context)
        if not stage.control:
            return Ticket(stage, masks, weights, context.rewind)
        if self._run_dir.has(Stage(stage.level)):
            masks = self._run_dir.mask(Stage(stage.level))
        control = _control(self._config, stage.control)
        masks, weights, start = control.prepare(stage.control, stage.level, masks, weights, context)
        return Ticket(stage, masks, weights, start)

    def finish(
        self,
        ticket: Ticket,
        weights: Weights,
        history: History | None,
        masks: Masks | None = None,
    ) -> None:
        """Records a stage that has been trained.

        Args:
            ticket: what it started from.
            weights: path -> array of every weight at its end, pruned ones as 0.
            history: what was measured on the way; None of the origin.
            masks: those at its end; None if they are to be told from weights and ticket.
        """
        if ticket.stage == ORIGIN:
            self._run_dir.save_origin(weights)
            self._run_dir.forget_progress(ORIGIN)
            return
        if masks is None:
            masks = ticket.masks
            if not ticket.stage.control:
                masks = self._method.finish(ticket, weights, self._context)
        self._run_dir.save_stage(ticket.stage, masks, weights, history)


def plan(
    config: ProcedureConfig, dense: Masks, rates: dict[str, float], units: Units = EVERY_WEIGHT
) -> list[int]:
    """Returns the number of weights remaining at levels 0, 1, ... of a config's method.

    Args:
        config: method, levels, criterion and scope.
        dense: weight path -> array of a prunable weight's shape.
        rates: weight path -> fraction of its remaining weights pruned a level.
        units: what is kept or pruned as one.

    Raises:
        UsageError: if a layer would lose its last weight, or the criterion is unknown.
    """
    CRITERIA.get(config.criterion)
    shapes = {path: np.shape(mask) for path, mask in dense.items()}
    return config.method.plan(shapes, rates, config, *units.arguments)


def scaled_rates(
    config: ProcedureConfig, dense: Masks, rates: dict[str, float]
) -> dict[str, float]:
    """Returns the prune rates, or those that reach the config's target density.

    Args:
        config: levels and target density.
        dense: weight path -> array of a prunable weight's shape.
        rates: weight path -> fraction of its remaining weights pruned a level.

    Raises:
        UsageError: if what is not pruned is more than that.
    """
    if not config.target_density:
        return rates
    sizes = {path: int(np.size(mask)) for path, mask in dense.items()}
    return rates_to(sizes, rates, config.target_density, config.levels)


_Config = TypeVar("_Config", bound=ProcedureConfig)


def without_idle_levels(
    config: _Config,
    dense: Masks,
    rates: dict[str, float],
    say: Callable[[str], object],
    units: Units = EVERY_WEIGHT,
) -> _Config:
    """Returns a config without the last levels, if nothing is left to prune at them.

    Args:
        config: what was asked for.
        dense: weight path -> array of a prunable weight's shape.
        rates: weight path -> fraction of its remaining weights pruned a level.
        say: is told of the levels that are left out.
        units: what is kept or pruned as one.

    Raises:
        UsageError: if a layer would lose its last weight, or the criterion is unknown.
    """
    sizes = plan(config, dense, rates, units)
    last = len(sizes) - 1
    while last and sizes[last] == sizes[last - 1]:
        last -= 1
    # A target density is reached by the levels that were asked for.
    if last == len(sizes) - 1 or config.target_density:
        return config
    if config.method.levels(config.replace(levels=last)) != last:
        return config  # of a method with a number of its own
    say(
        f"Levels {last + 1} to {config.levels} are not trained: at level {last} nothing is left "
        "to prune."
    )
    return config.replace(levels=last)


def stages(config: ProcedureConfig) -> list[Stage]:
    """Returns the trainings of all levels: of each the search, the ticket, the controls."""
    levels = range(config.method.levels(config) + 1)
    controlled = config.control_levels or levels
    return [
        Stage(level, name)
        for level in levels
        for name in (
            [SEARCH] * config.method.searches(level)
            + ["", *(control_names(config) if level in controlled else [])]
        )
    ]


def control_names(config: ProcedureConfig) -> list[str]:
    """Returns the names of a level's controls, e.g. "reinit_0"."""
    return [
        f"{CONTROLS.name_of(type(control))}_{k}"
        for control in config.controls
        for k in range(control.count)
    ]


def control_label(name: str) -> str:
    """Returns a control in words: "random reinit" for "reinit_0", "" for no control."""
    kind = name.rpartition("_")[0] or name
    if kind in (SEARCH, FORK):
        return {SEARCH: "search", FORK: "another order of batches"}[kind]
    return CONTROLS.get(kind)().label() if kind else ""


def _control(config: ProcedureConfig, name: str) -> Control:
    kind = CONTROLS.get(name.rpartition("_")[0])
    return next(control for control in config.controls if type(control) is kind)
