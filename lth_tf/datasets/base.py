"""What a data set is: arrays in memory, and what is done to them before a network."""

import dataclasses
import functools
import zlib
from typing import Any, Self

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.seeding import generator


@dataclasses.dataclass(frozen=True)
class Preprocessing:
    """Turns stored inputs into what a network takes.

    Belongs to the data set, so that training, evaluation and whoever uses the network
    later do the same.

    Attributes:
        divisor: inputs are cast to float32 and divided by it, or by one number a column; None
            leaves them as they are.
        mean: subtracted before that, or one number a column.

    Example:
    >>> Preprocessing(divisor=255.0)(np.uint8([0, 51, 255])).tolist()
    [0.0, 0.20000000298023224, 1.0]
    >>> Preprocessing()(np.int32([3, 7])).tolist()
    [3, 7]
    >>> Preprocessing((2.0, 4.0), mean=(1.0, 0.0))(np.float32([[3, 8]])).tolist()
    [[1.0, 2.0]]
    """

    divisor: float | tuple[float, ...] | None = None
    mean: float | tuple[float, ...] = 0.0

    @property
    def by_column(self) -> bool:
        """Whether columns of a table are each treated in their own way."""
        return isinstance(self.divisor, tuple | list) or self.mean != 0.0

    def __call__(self, inputs: Any) -> Any:
        """Returns a network's inputs, for a numpy array or a tensor of any shape."""
        if self.divisor is None:
            return inputs
        if isinstance(inputs, np.ndarray):
            inputs = inputs.astype(np.float32)
        else:
            inputs = keras.ops.cast(inputs, "float32")
        if self.mean != 0.0:
            inputs = inputs - np.asarray(self.mean, np.float32)
        return inputs / np.asarray(self.divisor, np.float32)

    @classmethod
    def standardizing(cls, table: np.ndarray) -> Self:
        """Returns what gives the columns of a table mean 0 and standard deviation 1.

        Args:
            table: numbers [examples, columns] to train on; a constant column is left at 0.
        """
        deviation = np.std(table, axis=0, dtype=np.float64)
        divisor = np.where(deviation == 0, 1.0, deviation)
        mean = np.asarray(np.mean(table, axis=0, dtype=np.float64))
        return cls(tuple(map(float, divisor)), tuple(map(float, mean)))

    @classmethod
    def of(cls, inputs: np.ndarray) -> Self:
        """Returns what inputs of an array's type and rank need.

        uint8 of rank 3 and more are images and come into [0, 1] (the paper does not state
        its normalization). All else, e.g. floats, tokens, rows of a table, stays as it is.
        """
        return cls(255.0 if inputs.dtype == np.uint8 and inputs.ndim >= 3 else None)


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

    def take(self, indices: np.ndarray) -> Self:
        """Returns the examples with these indices."""
        return type(self)(self.inputs[indices], self.labels[indices])


@dataclasses.dataclass(frozen=True)
class Source:
    """A data set as it is published: what a file of this package returns.

    Attributes:
        train: all training examples; the validation examples come out of them.
        test: test examples.
        classes: number of classes.
        validation_size: examples to set aside for validation if nothing else is
            asked for.
        preprocessing: what is done to inputs; None is what their type and rank need.
    """

    train: Split
    test: Split
    classes: int
    validation_size: int
    preprocessing: Preprocessing | None = None

    def data(self, name: str, seed: int, validation_size: int | None = None) -> "Data":
        """Returns the data set with its validation examples set aside.

        Args:
            name: what the data set is called.
            seed: decides which examples are for validation.
            validation_size: how many; None is the data set's own number.

        Raises:
            UsageError: if nothing would be left to train on.
        """
        size = self.validation_size if validation_size is None else validation_size
        train, validation = split_off(
            self.train, size, seed, name="validation_size", of=f"training examples of {name!r}"
        )
        preprocessing = self.preprocessing or Preprocessing.of(train.inputs)
        return Data(name, train, validation, self.test, self.classes, preprocessing)


@dataclasses.dataclass(frozen=True)
class Data:
    """A data set ready to train on.

    Attributes:
        name: what `--dataset` calls it.
        train: training examples.
        validation: examples taken out of the published training set; they alone
            decide the early-stop iteration.
        test: test examples.
        classes: number of classes.
        preprocessing: what is done to inputs before the network; None when it is made
            becomes what their type and rank need, see `Preprocessing.of`.
    """

    name: str
    train: Split
    validation: Split
    test: Split
    classes: int
    # Filled in as soon as the inputs are known.
    preprocessing: Preprocessing = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.preprocessing is None:
            object.__setattr__(self, "preprocessing", Preprocessing.of(self.train.inputs))

    @functools.cached_property
    def checksum(self) -> str:
        """Eight hexadecimal digits that tell data sets apart: of all inputs and labels."""
        splits = (self.train, self.validation, self.test)
        value = 0
        for array in (array for split in splits for array in (split.inputs, split.labels)):
            value = zlib.crc32(f"{array.dtype.str}{array.shape}".encode(), value)
            value = zlib.crc32(np.ascontiguousarray(array).view(np.uint8).data, value)
        return f"{value:08x}"

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example's inputs."""
        return tuple(self.train.inputs.shape[1:])

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels, of a data set of images."""
        return self.input_shape


def split_off(
    split: Split, size: int, seed: int, *stream: str, name: str, of: str
) -> tuple[Split, Split]:
    """Returns a split without `size` examples drawn at random, and those examples.

    Args:
        split: what to draw from; the order of the examples is kept.
        size: how many to draw.
        seed: decides which.
        *stream: parts of the random stream's name after "split".
        name: what the size is called in an error.
        of: what the examples are called there.

    Raises:
        UsageError: if nothing would be left, or nothing drawn.
    """
    if not 0 < size < len(split):
        raise UsageError(
            f"Expected {name} of at least 1 and below the {len(split)} {of}. "
            f"Received: {name}={size}."
        )
    order = generator(seed, "split", *stream).permutation(len(split))
    return split.take(np.sort(order[size:])), split.take(np.sort(order[:size]))
