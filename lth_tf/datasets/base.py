"""What a data set is: its splits, and what is done to inputs before a network."""

import dataclasses
import functools
from typing import Any, Self, TypeVar

import keras
import numpy as np

from lth_tf.datasets.split import Split
from lth_tf.datasets.streamed import Indexed, Rows, Streamed
from lth_tf.errors import UsageError
from lth_tf.seeding import generator

AnySplit = Split | Streamed
OneSplit = TypeVar("OneSplit", bound=Split | Indexed)


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
    def of(cls, split: Split | Streamed) -> Self:
        """Returns what inputs of a split's type and rank need.

        uint8 of rank 3 and more are images and come into [0, 1] (the paper does not state
        its normalization). All else, e.g. floats, tokens, rows of a table, stays as it is.
        """
        return cls(255.0 if split.dtype == np.uint8 and len(split.input_shape) >= 2 else None)


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

    train: Split | Indexed
    test: Split | Indexed
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
        preprocessing = self.preprocessing or Preprocessing.of(train)
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
    train: AnySplit
    validation: AnySplit
    test: AnySplit
    classes: int
    # Filled in as soon as the inputs are known.
    preprocessing: Preprocessing = None  # type: ignore[assignment]

    def __post_init__(self) -> None:
        if self.preprocessing is None:
            object.__setattr__(self, "preprocessing", Preprocessing.of(self.train))

    @functools.cached_property
    def checksum(self) -> str:
        """Eight hexadecimal digits that tell data sets apart: of all inputs and labels.

        The same in memory and streamed, unless reading all would take long: see `Store`.
        """
        value = 0
        for split in (self.train, self.validation, self.test):
            value = split.crc32(value)
        return f"{value:08x}"

    @property
    def is_streamed(self) -> bool:
        """Whether a split is read when it is needed."""
        return any(isinstance(split, Streamed) for split in self._splits().values())

    def streamed(self) -> "Data":
        """Returns the same examples to be read when they are needed."""
        streamed = {
            name: Indexed(Rows(split.inputs, split.labels))
            for name, split in self._splits().items()
            if isinstance(split, Split)
        }
        return dataclasses.replace(self, **streamed)  # type: ignore[arg-type]

    def in_memory(self) -> "Data":
        """Returns the same examples as arrays."""
        arrays = {
            name: Split(split.inputs, split.labels)
            for name, split in self._splits().items()
            if isinstance(split, Streamed)
        }
        return dataclasses.replace(self, **arrays)  # type: ignore[arg-type]

    def _splits(self) -> dict[str, AnySplit]:
        return {name: getattr(self, name) for name in ("train", "validation", "test")}

    @property
    def input_shape(self) -> tuple[int, ...]:
        """Shape of one example's inputs."""
        return self.train.input_shape

    @property
    def image_shape(self) -> tuple[int, ...]:
        """Height, width and channels, of a data set of images."""
        return self.input_shape


def split_off(
    split: OneSplit, size: int, seed: int, *stream: str, name: str, of: str
) -> tuple[OneSplit, OneSplit]:
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
    # Of a union mypy does not know that `take` returns the same.
    return split.take(np.sort(order[size:])), split.take(np.sort(order[:size]))  # type: ignore
