"""How evenly a ticket's connections are spread over units."""

import dataclasses
import math
from collections.abc import Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import Analysis, Level, Panel, Row

_QUANTILES = np.linspace(0.0, 1.0, 11)


@register("connectivity")
@dataclasses.dataclass(frozen=True)
class Connectivity(Analysis):
    """Incoming and outgoing connections of every unit."""

    title = "How evenly a ticket's connections are spread over units"
    caption = (
        "Units of a layer from the one that keeps the smallest share of its connections to the one "
        "that keeps the largest (paper, appendix F: incoming even, outgoing uneven)."
    )
    panels = (
        Panel(
            "kept",
            "Connections that a unit keeps (%)",
            x="units",
            x_title="Units (%)",
            colour="remaining",
            split=("layer", "side", "series"),
            zero=True,
        ),
    )
    columns = {"uneven": "deviation / mean", "chance": "of a random mask"}
    keys = ("series", "level", "remaining", "layer", "side")

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns a row a layer, side and tenth of its units.

        "side" is "incoming" or "outgoing", "units" the percentage of units that keep "kept" % of
        their connections or fewer. Of a side "uneven" is the standard deviation over units,
        in parts of the mean, and "chance" what a random mask's is expected to be.
        """
        for path, mask in level.masks.items():
            if mask.ndim < 2:
                continue  # biases and normalizations that go with channels
            for side, shares in (("incoming", incoming(mask)), ("outgoing", outgoing(mask))):
                mean = float(shares.mean())
                if not mean:
                    continue
                numbers = {
                    "side": side,
                    # Of equal shares the mean is rounded.
                    "uneven": float(shares.std()) / mean if np.ptp(shares) else 0.0,
                    "chance": expected_deviation(mask, shares.size) / mean,
                }
                kept = np.quantile(shares, _QUANTILES)
                for part, value in zip(_QUANTILES.tolist(), kept.tolist(), strict=True):
                    yield level.row(path, units=100 * part, kept=100 * value, **numbers)


def incoming(mask: np.ndarray) -> np.ndarray:
    """Returns the fraction of its incoming connections that each unit keeps, float64 [units].

    Units are the last axis of a kernel, of convolutions the output channels.

    Args:
        mask: [..., inputs, units] array of 0 and 1.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F.

    Example:
    >>> incoming(np.array([[1, 0], [1, 1]]))
    array([1. , 0.5])
    """
    return mask.astype(bool).reshape(-1, mask.shape[-1]).mean(axis=0)


def outgoing(mask: np.ndarray) -> np.ndarray:
    """Returns the fraction of its outgoing connections that each input keeps, float64 [inputs].

    Inputs are the last axis but one of a kernel: units, or channels, of the layer before.

    Args:
        mask: [..., inputs, units] array of 0 and 1.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, appendix F.

    Example:
    >>> outgoing(np.array([[1, 0], [1, 1]]))
    array([0.5, 1. ])
    """
    return incoming(np.swapaxes(mask, -1, -2))


def expected_deviation(mask: np.ndarray, units: int) -> float:
    """Returns the standard deviation of units' fractions that a random mask is expected to have.

    Of N weights K are kept at random; a unit has n = N / units of them, and keeps a number that is
    hypergeometric: the variance of its fraction is d (1 - d) / n * (N - n) / (N - 1), d = K / N.
    One unit alone always keeps the same.

    Args:
        mask: array of 0 and 1, N weights.
        units: how many share them evenly.

    Example:
    >>> round(expected_deviation(np.array([1, 1, 0, 0]), units=4) ** 2, 6)
    0.25
    """
    total, density = mask.size, float(mask.astype(bool).mean())
    each = total / units
    if total < 2:
        return 0.0
    return math.sqrt(density * (1 - density) / each * (total - each) / (total - 1))
