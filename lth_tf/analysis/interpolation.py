"""What lies between two trained networks of a size."""

import dataclasses
from collections.abc import Iterable

from lth_tf.analysis import line, register
from lth_tf.analysis.base import NETWORK, Analysis, Level, Panel, Row
from lth_tf.masking.arrays import check_same_weights
from lth_tf.options import option


@register("interpolation")
@dataclasses.dataclass(frozen=True)
class Interpolation(Analysis):
    """The line between the networks of a level that two seeds, or two series, end with."""

    title = "What lies between two trained networks of a size"
    caption = (
        "Validation error on the straight line between two runs' trained networks of a level, "
        "statistics of batch normalization estimated anew at each point (Frankle et al. 2020)."
    )
    needs = NETWORK
    panels = (
        Panel(
            "error",
            "Validation error (%)",
            x="way",
            x_title="From one network to the other",
            colour="remaining",
            split=("series", "compared"),
            zero=True,
        ),
    )
    columns = {"error_barrier": "error barrier (points)", "loss_barrier": "loss barrier"}
    keys = ("compared", "series", "level", "remaining")

    points: int = option(11, "Points of a line between two networks, ends included.", minimum=3)

    def of_pair(self, one: Level, other: Level) -> Iterable[Row]:
        """Returns a row a point of the line, see `line.rows`; none if the networks differ."""
        try:
            check_same_weights(one.trained, other.trained)
        except ValueError:
            return
        seeds = one.subject.series == other.subject.series
        found = line.between(other.bench.evaluate, one.trained, other.trained, self.points)
        what = "between seeds" if seeds else f"from {one.subject.series}"
        yield from line.rows(other, found, compared=what)
