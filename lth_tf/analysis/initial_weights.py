"""What values the weights of a ticket start with."""

import dataclasses
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row
from lth_tf.options import option

_LARGEST = 3.0  # standard deviations


@register("initial_weights")
@dataclasses.dataclass(frozen=True)
class InitialWeights(Analysis):
    """The distribution of the survivors' initial weights, layer by layer."""

    title = "What values the weights of a ticket start with"
    caption = (
        "Distribution of the initial weights that survive, bin by bin (paper, appendix F: of "
        "LeNet trained by Adam the first layer's stays, the others' become bimodal)."
    )
    panels = (
        Panel(
            "share",
            "Weights in the bin (%)",
            x="value",
            x_title="Weight before training (standard deviations of the layer's)",
            colour="remaining",
            split=("layer", "series"),
            zero=True,
        ),
    )
    columns = {"deviation": "standard deviation", "positive": "positive (%)"}
    keys = ("series", "level", "remaining", "layer")

    bins: int = option(25, "Bins of the initial weights' distribution.", minimum=2)

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer and bin.

        "value" is the bin's middle, in standard deviations of all the layer's weights, "share" the
        survivors in it in %; of all bins of a layer "deviation" is the survivors' standard
        deviation, in the same unit, "positive" their share above 0 in %.
        """
        for path, mask in level.masks.items():
            kept = level.origin[path][mask.astype(bool)]
            unit = float(level.origin[path].std(dtype=np.float64))
            if not kept.size or not unit:
                continue
            middles, shares = histogram(kept / unit, _LARGEST, self.bins)
            numbers = {
                "deviation": float(kept.std(dtype=np.float64)) / unit,
                "positive": 100 * float((kept > 0).mean()),
            }
            for value, share in zip(middles.tolist(), shares.tolist(), strict=True):
                yield level.row(path, value=value, share=100 * share, **numbers)


def histogram(values: np.ndarray, largest: float, bins: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns the middles of equal bins from -largest to largest, and the share of values in each.

    Args:
        values: float array [n], n > 0; what is larger counts for the last bin.
        largest: bound of the bins, the same for tickets that are to be compared.
        bins: number of bins.

    Returns:
        float64 [bins], float64 [bins]; the shares sum up to 1.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F.

    Example:
    >>> histogram(np.array([-7.0, -0.9, 0.1, 1.0]), largest=1.0, bins=2)
    (array([-0.5,  0.5]), array([0.5, 0.5]))
    """
    inside = np.clip(values, -largest, largest)
    counts, edges = np.histogram(inside, bins, (-largest, largest))
    return (edges[1:] + edges[:-1]) / 2, counts / values.size
