"""Whether two masks keep the same weights."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row, ratio, with_all
from lth_tf.masking.arrays import Masks, check_same_weights


@register("overlap")
@dataclasses.dataclass(frozen=True)
class Overlap(Analysis):
    """Masks of other seeds, other methods and the level before, against chance."""

    title = "Whether two masks keep the same weights"
    caption = (
        "Weights that both keep, in % of those that either keeps (Jaccard index). Dashed: what "
        "random masks with the same density in each layer have in common."
    )
    panels = (
        Panel("overlap", "Overlap (%)", dashed="chance", split=("compared",), zero=True),
        Panel("multiple", "Overlap in multiples of chance", split=("layer", "compared"), zero=True),
    )
    columns = {
        "overlap": "overlap (%)",
        "chance": "chance (%)",
        "multiple": "multiple",
    }
    keys = ("compared", "series", "level", "remaining")

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer: the overlap with the level before."""
        if level.previous is not None:
            yield from self._rows(level, level.previous, "with the level before")

    def of_pair(self, one: Level, other: Level) -> Iterable[Row]:
        """Returns a row a layer: "overlap" and "chance" in %, and the one in parts of the other.

        "multiple" is that. There is no row if the networks differ.
        """
        seeds = one.subject.series == other.subject.series
        what = "between seeds" if seeds else f"with {one.subject.series}"
        yield from self._rows(other, one, what)

    def _rows(self, level: Level, other: Level, what: str) -> Iterable[Row]:
        try:
            check_same_weights(level.masks, other.masks)
        except ValueError:
            return  # Other networks have no weights in common.
        for layer, (observed, chance) in overlaps(level.masks, other.masks).items():
            yield level.row(
                layer,
                compared=what,
                overlap=100 * observed,
                chance=100 * chance,
                multiple=ratio(observed, chance),
            )


def overlaps(one: Masks, other: Masks) -> dict[str, tuple[float, float]]:
    """Returns weight path, and `ALL` -> Jaccard index of two masks, and that of random masks.

    The Jaccard index is |A and B| / |A or B|. Random masks that keep a and b of a layer's n weights
    have ab / n in common, on average; their index is that over the expected a + b - ab / n. For
    all layers together both are summed up, so densities that differ from layer to
    layer alone give no overlap beyond chance. Two empty masks have index 1.

    Args:
        one: weight path -> array of 0 and 1.
        other: the same weights.

    Raises:
        ValueError: if the masks are of other weights.

    Source:
        Jaccard 1912; by chance two random sets have the mean of the hypergeometric distribution
        in common.

    Example:
    >>> overlaps({"w": np.array([1, 1, 0, 0])}, {"w": np.array([0, 1, 1, 0])})["w"]
    (0.3333333333333333, 0.3333333333333333)
    """
    check_same_weights(one, other)
    counts = {}
    for path, mask in one.items():
        a, b = mask.astype(bool), other[path].astype(bool)
        kept = np.count_nonzero(a), np.count_nonzero(b)
        common = np.count_nonzero(a & b)
        counts[path] = np.array([common, kept[0] * kept[1] / a.size, sum(kept)])
    return {
        layer: (_jaccard(both, kept), _jaccard(expected, kept))
        for layer, (both, expected, kept) in with_all(counts).items()
    }


def _jaccard(both: float, kept: float) -> float:
    return ratio(both, kept - both) if kept else 1.0
