"""The straight line between two networks, and how much worse it is in the middle."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from lth_tf.analysis.base import Level, Row, Weights

Evaluate = Callable[[Weights], tuple[float, float]]


@dataclasses.dataclass(frozen=True, eq=False)
class Line:
    """What was measured between two sets of weights.

    Attributes:
        way: float64 [points], 0 at the first and 1 at the second.
        loss: float64 [points], mean loss.
        error: float64 [points], fraction of the labels.
    """

    way: np.ndarray
    loss: np.ndarray
    error: np.ndarray


def between(evaluate: Evaluate, one: Weights, other: Weights, points: int) -> Line:
    """Returns loss and error on the straight line between two sets of weights.

    Args:
        evaluate: path -> array of every weight to mean loss and error; it should estimate the
            statistics of batch normalization anew, as `Bench.evaluate` does.
        one: path -> array of every weight; of tickets mask * weights.
        other: the same weights.
        points: on the line, both ends included.

    Source:
        Frankle et al. 2020, arXiv:1912.05671, section 2.
    """
    way = np.linspace(0.0, 1.0, points)
    measured = [
        evaluate(
            {
                path: ((1 - at) * value + at * other[path]).astype(value.dtype)
                for path, value in one.items()
            }
        )
        for at in way
    ]
    loss, error = np.array(measured, np.float64).T
    return Line(way, loss, error)


def barrier(values: np.ndarray) -> float:
    """Returns how much values on a line rise: the largest minus the mean of the ends, at least 0.

    Args:
        values: float [points], at least 2.

    Source:
        Frankle et al. 2020, arXiv:1912.05671, section 2; networks below 2 % of error are called
        stable there.

    Example:
    >>> round(barrier(np.array([0.1, 0.4, 0.3, 0.2])), 3)
    0.25
    >>> barrier(np.array([0.3, 0.1, 0.3]))
    0.0
    """
    return max(0.0, float(np.max(values) - (values[0] + values[-1]) / 2))


def barriers(line: Line) -> dict[str, float]:
    """Returns the barriers of a line for a row: "error_barrier" in %, "loss_barrier"."""
    return {
        "error_barrier": 100 * barrier(line.error),
        "loss_barrier": barrier(line.loss),
    }


def rows(level: Level, line: Line, **values: str) -> Iterable[Row]:
    """Returns a row a point of a line: "way", "loss", "error" in %, and its barriers."""
    for way, loss, error in zip(line.way, line.loss, line.error, strict=True):
        yield level.row(
            way=float(way),
            loss=float(loss),
            error=100 * float(error),
            **{**barriers(line), **values},
        )
