"""How far the weights of a ticket move, beside those that are pruned."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row, Weights, ratio, with_all
from lth_tf.masking.arrays import Masks


@register("movement")
@dataclasses.dataclass(frozen=True)
class Movement(Analysis):
    """The way of each weight in the training of the dense network."""

    title = "How far the weights of a ticket move"
    caption = (
        "In the training of the dense network, over all layers: the weights that a level keeps. "
        "Dashed: those that it has pruned (paper, appendix F)."
    )
    panels = (
        Panel("moved", "Mean distance from the start", dashed="moved_pruned", zero=True),
        Panel("outwards", "Weights that move away from 0 (%)", dashed="outwards_pruned"),
    )
    columns = {
        "moved": "distance",
        "moved_pruned": "of the pruned",
        "outwards": "away from 0 (%)",
        "outwards_pruned": "of the pruned (%)",
        "moved_again": "in the ticket's training",
    }

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer.

        "moved" and "moved_pruned" are mean distances in the dense network, "outwards" and
        "outwards_pruned" the weights that move away from 0 in %; "moved_again" is the mean
        distance of the ticket's weights in its own training. NaN where there are none.
        """
        dense = movement(level.masks, level.origin, level.subject.dense)
        again = movement(level.masks, level.origin, level.trained)
        for layer, way in dense.items():
            yield level.row(
                layer,
                moved=way.kept,
                moved_pruned=way.pruned,
                outwards=100 * way.outwards_kept,
                outwards_pruned=100 * way.outwards_pruned,
                moved_again=again[layer].kept,
            )


@dataclasses.dataclass(frozen=True)
class Way:
    """How weights move in a training; NaN of none.

    Attributes:
        kept: mean |end - start| of the weights that a mask keeps.
        pruned: the same of the others.
        outwards_kept: fraction of those kept with |end| > |start|.
        outwards_pruned: the same of the others.
    """

    kept: float
    pruned: float
    outwards_kept: float
    outwards_pruned: float


def movement(masks: Masks, start: Weights, end: Weights) -> dict[str, Way]:
    """Returns weight path, and `ALL` -> how the weights kept and the others move.

    Args:
        masks: weight path -> array of 0 and 1.
        start: path -> array, the weights before a training.
        end: the same, after it; of pruned weights too, if these are to be compared.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F (weights of a ticket move further
        than the others in the training of the dense network, and away from 0).
    """
    sums = {}
    for path, mask in masks.items():
        before, after = (values[path].astype(np.float64) for values in (start, end))
        kept, distance = mask.astype(bool), np.abs(after - before)
        outwards = np.abs(after) > np.abs(before)
        # Sums over all and over those kept: picking random entries out of an array is slow.
        whole = np.array([distance.sum(), np.count_nonzero(outwards), kept.size])
        part = [
            np.where(kept, distance, 0).sum(),
            np.count_nonzero(outwards & kept),
            np.count_nonzero(kept),
        ]
        sums[path] = np.array([part, whole - part])
    return {
        layer: Way(
            *(ratio(moved, count) for moved, _, count in found),
            *(ratio(outwards, count) for _, outwards, count in found),
        )
        for layer, found in with_all(sums).items()
    }
