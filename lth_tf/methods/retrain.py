"""Retraining: tickets of another run are trained again, under another config."""

import dataclasses
import pathlib
from typing import TYPE_CHECKING, Any

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks, check_same_weights, remaining
from lth_tf.methods import register
from lth_tf.methods.base import Context, Method, Shapes, Weights
from lth_tf.options import option
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Units
from lth_tf.pruning.select import size
from lth_tf.runs import rewinding
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

if TYPE_CHECKING:
    from lth_tf.config import ProcedureConfig


@register("retrain")
@dataclasses.dataclass(frozen=True)
class Retrain(Method):
    """Trains the masks of another run's levels from that run's origin, or from a third run's.

    Level 0 is the dense network from that origin under this config, each further level one of
    the tickets. Training begins at the iteration that the run rewinds to.

    Source:
        Morcos et al. 2019, arXiv:1906.02773 (other data sets and optimizers); the swap of
        masks and values tells whether a learning rate spoils the mask or its training.
    """

    ticket: str = option("", "Run directory whose masks are trained.")
    level: tuple[int, ...] = option((1,), "Levels of it, comma-separated.")
    values: str = option(
        "", "Run directory whose origin gives the weights. Default: that of the masks."
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        # The same run from wherever the program is started.
        for name in ("ticket", "values"):
            if getattr(self, name):
                object.__setattr__(self, name, str(pathlib.Path(getattr(self, name)).resolve()))

    def check(self, config: "ProcedureConfig") -> None:
        """Refuses `model.fit`."""
        self.refuse_fit(config, "which trains tickets of another run")

    def label(self) -> str:
        """Returns the method in words, with the folder of the run that the masks are of."""
        return f"tickets of {pathlib.Path(self.ticket).parent.name} retrained"

    def details(self, config: "ProcedureConfig") -> str:
        """Returns where masks and weights come from."""
        values = f", weights of {self.values}" if self.values else ""
        return f"Masks of {self.ticket}, levels {', '.join(map(str, self.level))}{values}"

    def levels(self, config: "ProcedureConfig") -> int:
        """Returns the number of levels that are retrained."""
        return len(self.level)

    def needs(self, level: int) -> int | None:
        """Returns None: masks come from the other run."""
        return None

    def plan(
        self,
        shapes: Shapes,
        rates: dict[str, float],
        config: "ProcedureConfig",
        units: Units = EVERY_WEIGHT,
    ) -> list[int]:
        """Returns the number of weights at levels 0, 1, ...

        Raises:
            UsageError: if the masks are not of a network of these shapes, or the weights not
                those of one with these masks.
        """
        found = [self._masks(level) for level in range(1, len(self.level) + 1)]
        expected = {path: np.empty(shape, np.uint8) for path, shape in shapes.items()}
        for masks in found:
            self._check(expected, masks, self.ticket)
            weights = {p: v for p, v in self.initial_weights().items() if p in masks}
            self._check(expected, weights, self.values or self.ticket)
        return [sum(map(size, shapes.values())), *map(remaining, found)]

    def origin_iteration(self, config: "ProcedureConfig") -> int:
        """Returns the iteration whose weights the other run's origin has."""
        return rewinding.iteration_of(self._source())

    def initial_weights(self) -> Weights:
        """Returns the origin of the other run."""
        return self._source().origin()

    def prepare(self, level: int, context: Context) -> tuple[Masks, Weights]:
        """Returns the masks of one of the levels, and the origin."""
        masks = self._masks(level) if level else context.dense
        return masks, context.run_dir.origin()

    def provenance(self) -> dict[str, Any]:
        """Returns which runs masks and weights come from, and what these were made on."""
        parents = {"ticket": str(self._run().path), "values": self.values}
        return {
            "retrained": {
                name: {"path": path, **RunDir(path).provenance()}
                for name, path in parents.items()
                if path
            }
        }

    def _source(self) -> RunDir:
        return RunDir(self.values or self._run().path)

    def _run(self) -> RunDir:
        if not self.ticket:
            raise UsageError(
                "Expected a run whose tickets are trained. Received: ticket=''.",
                arguments=("ticket",),
            )
        return RunDir(self.ticket)

    def _masks(self, level: int) -> Masks:
        return self._run().mask(Stage(self.level[level - 1]))

    def _check(self, expected: Weights, found: Weights, path: str) -> None:
        try:
            check_same_weights(expected, found)
        except ValueError as error:
            raise UsageError(
                f"Expected a network of the shapes that {path} was trained with. Received another: "
                f"{error}",
                arguments=("ticket", "network", "dataset"),
            ) from error
