"""How many weights keep the sign they start with."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row, Weights, ratio, with_all
from lth_tf.masking.arrays import Masks


@register("signs")
@dataclasses.dataclass(frozen=True)
class Signs(Analysis):
    """The sign a weight starts with against the one it ends with."""

    title = "How many weights keep the sign they start with"
    caption = (
        "Of the weights that a level keeps, in its own training. Dashed: of the same weights, in "
        "the training of the dense network."
    )
    panels = (
        Panel("same_sign", "Weights of the same sign (%)", dashed="in_dense", split=("layer",)),
    )
    columns = {"same_sign": "same sign (%)", "in_dense": "in the dense network (%)"}

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer: "same_sign" and "in_dense" in %."""
        own = sign_agreement(level.masks, level.origin, level.trained)
        dense = sign_agreement(level.masks, level.origin, level.subject.dense)
        for layer, share in own.items():
            yield level.row(layer, same_sign=100 * share, in_dense=100 * dense[layer])


def sign_agreement(masks: Masks, one: Weights, other: Weights) -> dict[str, float]:
    """Returns weight path, and `ALL` -> fraction of the weights kept with the same sign in both.

    A 0 agrees with a 0 only. NaN where nothing is kept.

    Args:
        masks: weight path -> array of 0 and 1.
        one: path -> array, e.g. the weights before training.
        other: the same, after it.

    Source:
        Zhou et al. 2019, arXiv:1905.01067, section 4 (what matters of an initialization is its
        sign).

    Example:
    >>> before, after = np.array([1.0, -1.0, 2.0, 3.0]), np.array([0.5, 0.1, 2.0, -1.0])
    >>> sign_agreement({"w": np.array([1, 1, 1, 0])}, {"w": before}, {"w": after})["w"]
    0.6666666666666666
    """
    counts = {}
    for path, mask in masks.items():
        same = np.sign(one[path]) == np.sign(other[path])
        counts[path] = np.array(
            [np.count_nonzero(same & mask.astype(bool)), np.count_nonzero(mask)]
        )
    return {layer: ratio(*found) for layer, found in with_all(counts).items()}
