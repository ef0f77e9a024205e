"""Whether another order of batches leads a ticket elsewhere."""

import dataclasses
from collections.abc import Iterable

from lth_tf.analysis import line, register
from lth_tf.analysis.base import TRAINING, Analysis, Level, Panel, Row
from lth_tf.options import option
from lth_tf.runs.stage import FORK
from lth_tf.seeding import stream_seed


@register("instability")
@dataclasses.dataclass(frozen=True)
class Instability(Analysis):
    """A copy of each ticket is trained on batches in another order."""

    title = "Whether another order of batches leads a ticket elsewhere"
    caption = (
        "Between a trained ticket and a copy trained on other batches: the largest value on the "
        "line above the mean of the ends, on validation data. Below 2 points of error a network is "
        "stable (Frankle et al. 2020)."
    )
    needs = TRAINING
    panels = (
        Panel("error_barrier", "Error barrier (points)", zero=True),
        Panel("loss_barrier", "Loss barrier", zero=True),
    )
    columns = {"error_barrier": "error barrier (points)", "loss_barrier": "loss barrier"}

    points: int = option(11, "Points of a line between two networks, ends included.", minimum=3)

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a point of the line, see `line.rows`; costs one training.

        Source:
            Frankle et al. 2020, arXiv:1912.05671, section 2 (instability; there with 30 points
            and of the test error).
        """
        bench = level.bench
        other = stream_seed(level.subject.seed, FORK)
        copy, _ = bench.train(bench.ticket(level.number), order=other)
        yield from line.rows(level, line.between(bench.evaluate, level.trained, copy, self.points))
