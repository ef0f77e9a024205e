"""Whether successive levels end in one basin of the loss."""

import dataclasses
from collections.abc import Iterable

from lth_tf.analysis import line, register
from lth_tf.analysis.base import NETWORK, Analysis, Level, Panel, Row
from lth_tf.options import option


@register("barriers")
@dataclasses.dataclass(frozen=True)
class Barriers(Analysis):
    """How the loss rises between the trained networks of a level and of the one before."""

    title = "Barriers between successive levels"
    caption = (
        "On the line from the trained network of the level before to that of the level: the "
        "largest value above the mean of the ends, on validation data. 0 while a ticket matches "
        "(Paul et al. 2023)."
    )
    needs = NETWORK
    panels = (
        Panel("error_barrier", "Error barrier (points)", zero=True),
        Panel("loss_barrier", "Loss barrier", zero=True),
    )
    columns = {"error_barrier": "error barrier (points)", "loss_barrier": "loss barrier"}

    points: int = option(11, "Points of a line between two networks, ends included.", minimum=3)

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a point of the line, see `line.rows`.

        Source:
            Paul et al. 2023, arXiv:2210.03044, section 3: a level's solution is linearly connected
            to the one before exactly while tickets match.
        """
        if level.previous is not None:
            found = line.between(
                level.bench.evaluate, level.previous.trained, level.trained, self.points
            )
            yield from line.rows(level, found)
