"""Which layers lose how many weights."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row
from lth_tf.masking.arrays import Masks


@register("densities")
@dataclasses.dataclass(frozen=True)
class Densities(Analysis):
    """The fraction of each layer's weights that is kept."""

    title = "Which layers lose how many weights"
    caption = "The percentage of each layer's weights that a ticket keeps."
    panels = (
        Panel(
            "density",
            "% of the layer's weights remaining",
            x="layer",
            x_title="Layer",
            colour="remaining",
            split=("series",),
            zero=True,
        ),
    )
    columns = {"kept": "weights", "density": "% of the layer"}
    keys = ("series", "level", "remaining", "layer")

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer: "kept" and "total" in weights, "density" in %."""
        for layer, (kept, total) in layer_sizes(level.masks).items():
            yield level.row(layer, kept=kept, total=total, density=100 * kept / total)


def layer_sizes(masks: Masks) -> dict[str, tuple[int, int]]:
    """Returns weight path -> number of weights kept, number of weights.

    Args:
        masks: weight path -> uint8 array; 1 keeps.

    Example:
    >>> layer_sizes({"w": np.array([[1, 0], [0, 0]], np.uint8)})
    {'w': (1, 4)}
    """
    return {path: (int(np.count_nonzero(mask)), mask.size) for path, mask in masks.items()}
