"""Named arrays, what goes into a model and what comes out, and how they are run in batches."""

from collections.abc import Callable, Iterable

import numpy as np

from lth_tf.errors import UsageError

Arrays = dict[str, np.ndarray]
"""Name of an input or output -> its examples, [n, ...]."""


def count(arrays: Arrays) -> int:
    """Returns the number of examples."""
    return len(next(iter(arrays.values())))


def part(arrays: Arrays, start: int, stop: int) -> Arrays:
    """Returns some of the examples."""
    return {name: array[start:stop] for name, array in arrays.items()}


def check_finite(weights: Iterable[np.ndarray]) -> None:
    """Refuses weights that are no numbers.

    Raises:
        UsageError: if one is NaN or infinite.
    """
    for array in weights:
        if not np.isfinite(array).all():
            raise UsageError(
                f"Expected finite weights. Received: NaN or infinity in a kernel of shape "
                f"{array.shape}. The network did not train well."
            )


def in_batches(
    run: Callable[[Arrays], Arrays],
    examples: Arrays,
    size: int,
    *,
    fixed: bool = False,
    first: Iterable[int] = (),
) -> Arrays:
    """Returns the outputs for all examples, computed batch by batch.

    Args:
        run: batch -> outputs.
        examples: all inputs.
        size: examples in a batch.
        fixed: whether `run` takes this size only; the last batch is filled up then.
        first: sizes of batches before those.
    """
    total, start, parts = count(examples), 0, []
    sizes = iter(first)
    while start < total:
        length = size if fixed else next(sizes, size)
        batch = part(examples, start, start + length)
        real = count(batch)
        if fixed and real < size:
            batch = {k: np.resize(array, (size, *array.shape[1:])) for k, array in batch.items()}
        parts.append(part(run(batch), 0, real))
        start += length
    return {name: np.concatenate([outputs[name] for outputs in parts]) for name in parts[0]}
