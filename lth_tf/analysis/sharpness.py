"""How sharp the minimum is that a ticket ends in."""

import dataclasses
from collections.abc import Callable, Iterable

import numpy as np

from lth_tf.analysis import register
from lth_tf.analysis.base import NETWORK, Analysis, Level, Panel, Row, Weights
from lth_tf.masking.arrays import Masks
from lth_tf.options import option
from lth_tf.seeding import generator


@register("sharpness")
@dataclasses.dataclass(frozen=True)
class Sharpness(Analysis):
    """The largest curvature of the loss over the weights that a ticket keeps."""

    title = "How sharp the minimum is that a ticket ends in"
    caption = (
        "Largest eigenvalue of the Hessian of the training loss over the weights that are kept, "
        "by Lanczos on a fixed set of training examples, statistics of batch normalization fixed."
    )
    needs = NETWORK
    panels = (Panel("sharpness", "Largest eigenvalue of the Hessian", zero=True),)
    columns = {"sharpness": "largest eigenvalue", "second": "second largest"}

    lanczos_steps: int = option(10, "Steps of Lanczos, a Hessian product each.", minimum=2)
    hessian_examples: int = option(
        100, "Training examples a class that the Hessian is of.", minimum=1
    )

    def of_level(self, level: Level) -> Iterable[Row]:
        """Returns one row: "sharpness", the largest eigenvalue, and "second"."""
        product = level.bench.hessian_product(self.hessian_examples)
        found = largest_eigenvalues(
            lambda direction: product(level.trained, level.masks, direction),
            level.masks,
            self.lanczos_steps,
            generator(level.subject.seed, "analysis", "lanczos"),
        )
        yield level.row(sharpness=float(found[0]), second=float(found[1]))


def largest_eigenvalues(
    product: Callable[[Weights], Weights], masks: Masks, steps: int, random: np.random.Generator
) -> np.ndarray:
    """Returns Lanczos's estimates of a masked Hessian's eigenvalues, the largest first.

    The Hessian of the loss over the weights that are kept is M H M. The first estimate is at most
    its largest eigenvalue, which plain power iteration misses where a negative one is
    larger in magnitude.

    Args:
        product: path -> direction, 0 where weights are pruned, to path -> H * direction.
        masks: weight path -> array of 0 and 1.
        steps: products that are made; fewer where all directions are used up.
        random: draws the first direction.

    Returns:
        float64 [steps], in descending order; NaN for the second of a single weight.

    Raises:
        ValueError: if nothing is kept.

    Source:
        Ghorbani et al. 2019, arXiv:1901.10159, section 2 (Lanczos with all directions made
        orthogonal again).
    """
    paths = list(masks)
    keep = np.concatenate([masks[path].astype(bool).ravel() for path in paths])
    if not keep.any():
        raise ValueError("Expected a mask that keeps a weight. Received: masks of zeros.")
    shapes = [masks[path].shape for path in paths]
    ends = np.cumsum([masks[path].size for path in paths])[:-1]

    def multiply(vector: np.ndarray) -> np.ndarray:
        whole = np.zeros(keep.size)
        whole[keep] = vector
        parts = [p.reshape(s) for p, s in zip(np.split(whole, ends), shapes, strict=True)]
        found = product(dict(zip(paths, parts, strict=True)))
        return np.concatenate([np.asarray(found[p], np.float64).ravel() for p in paths])[keep]

    return lanczos(multiply, random.normal(size=int(keep.sum())), steps)


def lanczos(
    multiply: Callable[[np.ndarray], np.ndarray], start: np.ndarray, steps: int
) -> np.ndarray:
    """Returns the eigenvalues of a symmetric matrix's projection on its Krylov space.

    Args:
        multiply: vector to matrix * vector, float64 [n].
        start: float64 [n], not 0.
        steps: dimension of the space at most; n at most is used.

    Returns:
        float64 [at least 2], in descending order, NaN at its end where there is only one.

    Example:
    >>> lanczos(lambda v: np.array([1.0, -5.0, 3.0]) * v, np.ones(3), steps=3).round(6).tolist()
    [3.0, 1.0, -5.0]
    """
    basis = [start / np.linalg.norm(start)]
    diagonal: list[float] = []
    beside: list[float] = []
    for _ in range(min(steps, start.size)):
        vector = multiply(basis[-1])
        diagonal.append(float(basis[-1] @ vector))
        known = np.stack(basis)
        for _ in range(2):  # Once leaves rounding errors that come back as false eigenvalues.
            vector = vector - known.T @ (known @ vector)
        length = float(np.linalg.norm(vector))
        if length <= 1e-10 * max(1.0, abs(diagonal[0])):
            break
        beside.append(length)
        basis.append(vector / length)
    inner = beside[: len(diagonal) - 1]
    found = np.linalg.eigvalsh(np.diag(diagonal) + np.diag(inner, 1) + np.diag(inner, -1))[::-1]
    return found if found.size > 1 else np.append(found, np.nan)
