"""What a method is: it says which trainings there are and what each starts from."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, ClassVar

import numpy as np

from lth_tf import pruning
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.methods.ticket import Ticket, Weights
from lth_tf.options import Options
from lth_tf.pruning.context import Network, OnDemand
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.runs.stage import Stage
from lth_tf.seeding import generator

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig
    from lth_tf.methods.hooks import Hooks
    from lth_tf.runs.run_dir import RunDir

Shapes = Mapping[str, int | tuple[int, ...]]


@dataclasses.dataclass(frozen=True)
class Context:
    """What methods and controls may look at: a run, as far as it has come.

    Attributes:
        config: levels, criterion, scope and seed.
        rates: weight path -> fraction of its remaining weights pruned a level.
        dense: weight path -> uint8 array of ones.
        run_dir: masks and weights of the stages that are done.
        rewind: how far the origin is trained, in iterations (epochs in `model.fit`).
        new_weights: returns a new initialization; its arguments name the random stream.
        network: gradients, for those who ask; None where there are no examples at hand.
        units: what is kept or pruned as one.
    """

    config: "ProcedureConfig"
    rates: dict[str, float]
    dense: Masks
    run_dir: "RunDir"
    rewind: int
    new_weights: Callable[..., Weights]
    network: Network | None = None
    units: Units = EVERY_WEIGHT

    def generator(self, *stream: str | int) -> np.random.Generator:
        """Returns a random stream of the run's seed."""
        return generator(self.config.seed, *stream)

    def prune(self, source: "Stage", level: int, rounds: int = 1) -> Masks:
        """Returns the masks that a finished stage's weights and the criterion give a level.

        Args:
            source: the stage whose masks and trained weights are pruned.
            level: names the random stream.
            rounds: how many levels are pruned at once.

        Raises:
            UsageError: if a layer would lose its last weight.
        """
        config = self.config
        rates = {path: pruning.select.rate_after(rounds, rate) for path, rate in self.rates.items()}
        # Not kept here: `prune` lets go of the weights once they are scored.
        return pruning.prune(
            self.to_prune(self.run_dir.mask(source), self.run_dir.trained(source), level),
            rates,
            config.criterion,
            config.scope,
            level,
        )

    def to_prune(self, masks: Masks, trained: Weights, level: int) -> pruning.PruningContext:
        """Returns what a criterion is given.

        Args:
            masks: what is left.
            trained: path -> array of every weight.
            level: names the random stream.
        """
        return pruning.PruningContext(
            masks=masks,
            trained=trained,
            origin=OnDemand(self.run_dir.origin),
            stream=(self.config.seed, "prune", level),
            network=self.network,
            units=self.units,
        )


class Method(Options):
    """One way to find tickets: a frozen dataclass, registered by its name.

    Below it the methods need one or two of these. What is not overridden trains level 0
    dense, from the origin, and prunes nothing.

    Attributes:
        finds_tickets: whether a level can win against the dense network; False where levels
            are not trained from a common origin, as in gradual pruning.
        takes_granularity: whether it prunes through its context, and so whole channels or blocks
            as well as single weights.
    """

    finds_tickets: ClassVar[bool] = True
    takes_granularity: ClassVar[bool] = False

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses a config that the method cannot work with; called when one is made.

        Raises:
            UsageError: if it does not fit.
        """

    def label(self) -> str:
        """Returns the method in words, for tables and legends."""
        return type(self).__name__

    def details(self, config: "ProcedureConfig") -> str:
        """Returns a line for the head of a run, "" for none."""
        return ""

    def levels(self, config: "ProcedureConfig") -> int:
        """Returns the number of the last level."""
        return config.levels

    def plan(
        self,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> list[int]:
        """Returns the number of weights remaining at levels 0, 1, ...

        Args:
            shapes: weight path -> shape; a number is that of a vector's weights.
            rates: weight path -> fraction of its remaining weights pruned a level.
            config: levels, criterion and scope.
            units: what is kept or pruned as one; not given where that is a weight.

        Raises:
            UsageError: if a layer would lose its last weight.
        """
        raise NotImplementedError(f"{type(self).__name__}.plan")

    def origin_iteration(self, config: "ProcedureConfig") -> int | None:
        """Returns how far the dense network is trained before level 0, in iterations.

        None asks for the first iteration at which it is stable, see `lth_tf.tickets.stability`.
        """
        return 0

    def needs(self, level: int) -> int | None:
        """Returns the level whose training a level's ticket is made from; None for none."""
        return level - 1 if level else None

    def refuse_fit(self, config: "ProcedureConfig", why: str) -> None:
        """Refuses `model.fit`.

        Args:
            config: what is run.
            why: what cannot be done there, e.g. "whose search is a part of a level".

        Raises:
            UsageError: if the config is that of a fit.
        """
        if config.kind == "fit":
            raise UsageError(
                f"Expected a method that works in fit. Received: {self.label()}, {why}. "
                "Use find_tickets."
            )

    def initial_weights(self) -> Weights | None:
        """Returns the origin where it is given, not initialized or trained; else None."""
        return None

    def provenance(self) -> dict[str, Any]:
        """Returns what config.json says of what the method takes from elsewhere."""
        return {}

    def searches(self, level: int) -> bool:
        """Returns whether a training of its own comes before a level's ticket: see `search`."""
        return False

    def search(self, level: int, context: Context) -> Ticket:
        """Returns what the training starts from in which a level's masks are learned.

        It is the stage `Stage(level, SEARCH)`; what it has learned is read by `prepare`.
        """
        raise NotImplementedError(f"{type(self).__name__}.search")

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns the masks of a level and the weights it starts from.

        Nothing but what is on the disk is needed, so it can be called again.

        Raises:
            UsageError: if a layer would lose its last weight.
        """
        return context.dense, context.run_dir.origin()

    def finish(self, ticket: Ticket, weights: Weights, context: Context) -> Masks:
        """Returns the exact masks of the ticket that a training has ended with.

        Args:
            ticket: what it started from.
            weights: what it ended with.
            context: the run so far.
        """
        return ticket.masks

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "Hooks | None":
        """Returns what the method adds to every update of the compiled loop; None for nothing.

        Masks that change while a network trains, losses and variables of the method's own (see
        `lth_tf.methods.hooks.Hooks`); what layers compute with, where that is not
        weight * mask (see `lth_tf.masking.model.set_effective`), is set here as well.

        Args:
            model: the masked network.
            rates: weight path -> fraction of its remaining weights pruned a level.
            config: what is run.
        """
        return None
