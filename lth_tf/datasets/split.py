"""Examples in memory."""

import dataclasses
import zlib
from typing import Self

import numpy as np


@dataclasses.dataclass(frozen=True)
class Split:
    """Inputs [examples, ...] of any type, e.g. uint8 images, and labels int32 [examples]."""

    inputs: np.ndarray
    labels: np.ndarray

    def __len__(self) -> int:
        return len(self.labels)

    @property
    def images(self) -> np.ndarray:
        """The inputs, of a data set of images."""
        return self.inputs

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example's inputs."""
        return tuple(self.inputs.shape[1:])

    @property
    def dtype(self) -> np.dtype:
        """Type of the inputs."""
        return self.inputs.dtype

    def take(self, indices: np.ndarray) -> Self:
        """Returns the examples with these indices."""
        return type(self)(self.inputs[indices], self.labels[indices])

    def read(self, indices: np.ndarray) -> "Split":
        """Returns the same in memory."""
        return self.take(indices)

    def crc32(self, value: int = 0) -> int:
        """Returns a checksum of inputs and labels, types and shapes, that goes on from another."""
        for array in (self.inputs, self.labels):
            value = crc32_head(array.dtype, array.shape, value)
            value = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, value)
        return value


def crc32_head(dtype: np.dtype, shape: tuple[int, ...], value: int) -> int:
    """Returns the checksum of an array's type and shape."""
    return zlib.crc32(f"{np.dtype(dtype).str}{shape}".encode(), value)
