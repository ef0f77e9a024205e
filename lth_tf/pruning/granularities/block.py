"""Blocks of weights side by side, as sparse kernels of runtimes read them."""

from typing import TYPE_CHECKING, ClassVar

import numpy as np

from lth_tf.lazy import lazy_imports
from lth_tf.pruning.granularities import register
from lth_tf.pruning.granularities.base import Granularity, Units
from lth_tf.pruning.granularities.grouped import Grouped

with lazy_imports():
    from lth_tf.masking import model as masking

if TYPE_CHECKING:
    import keras


class Block(Granularity):
    """Blocks of weights of one output, side by side along the inputs.

    That is 1 x `length` of the [outputs, inputs] that TFLite stores, of a convolution along its
    input channels. What is left over at the end of a row is a smaller block.

    Source:
        Elsen et al. 2020, arXiv:1911.09723 (block-sparse kernels for inference).
    """

    length: ClassVar[int]

    def units(self, model: "keras.Model") -> Units:
        """Returns the blocks of every masked weight."""
        shapes = {path: mask.shape for path, mask in masking.get_masks(model).items()}
        numbers, first = {}, 0
        for path, shape in shapes.items():
            found = blocks(shape, self.length)
            numbers[path] = found + first
            first += int(found.max()) + 1
        return Grouped(numbers, shapes, list(shapes))


def blocks(shape: tuple[int, ...], length: int) -> np.ndarray:
    """Returns the number of each weight's block.

    Args:
        shape: [..., inputs, outputs].
        length: of a block, along the inputs.

    Example:
    >>> blocks((5, 2), 4).T
    array([[0, 0, 0, 0, 1],
           [2, 2, 2, 2, 3]])
    """
    *places, inputs, outputs = shape
    row = np.arange(inputs) // length
    in_row = int(row[-1]) + 1
    rows = np.arange(int(np.prod(places, dtype=int)) * outputs).reshape(*places, 1, outputs)
    return rows * in_row + row[:, np.newaxis]


@register("1x4")
class Block4(Block):
    """Blocks of 4, for float32 kernels."""

    length = 4


@register("1x16")
class Block16(Block):
    """Blocks of 16, for int8 kernels."""

    length = 16
