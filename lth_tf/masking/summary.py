"""A masked model as a table."""

import math
from collections.abc import Callable

import keras

from lth_tf.cli.table import Column, table
from lth_tf.masking import arrays as mask_counts
from lth_tf.masking.model import get_masks, masked_slots, weight_variables

_COLUMNS = (
    Column("weight", left=True, shrink=True),
    Column("values"),
    Column("kept"),
    Column("% remaining"),
)


def summary(model: keras.Model, print_fn: Callable[[str], None] = print) -> None:
    """Prints for each masked weight of a model how many of its values are kept.

    Args:
        model: a masked model.
        print_fn: is given each line.

    Raises:
        UsageError: if the model has no masks.

    Example:
    >>> from lth_tf.masking.model import mask_model, set_masks
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(2, name="fc")])
    >>> _ = set_masks(mask_model(model), {"fc/kernel": [[1, 0], [0, 1], [0, 0], [0, 0]]})
    >>> summary(model)
    weight      values  kept  % remaining
    fc/kernel        8     2        25.00
    all masked       8     2        25.00
    not masked       2     2       100.00
    """
    masked_slots(model)
    masks = get_masks(model)
    rows = [(path, mask.size, mask_counts.remaining({path: mask})) for path, mask in masks.items()]
    rows.append(("all masked", mask_counts.total(masks), mask_counts.remaining(masks)))
    rest = sum(math.prod(v.shape) for p, v in weight_variables(model).items() if p not in masks)
    rows.append(("not masked", rest, rest))
    cells = [
        (name, f"{values:,}", f"{kept:,}", f"{100 * kept / values if values else 100:.2f}")
        for name, values, kept in rows
    ]
    for line in table(_COLUMNS, cells).splitlines():
        print_fn(line)
