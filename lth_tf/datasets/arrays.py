"""Data sets made of the caller's own arrays."""

import numpy as np

from lth_tf.datasets.base import Data, Preprocessing, Split, split_off
from lth_tf.errors import UsageError

Arrays = tuple[np.ndarray, np.ndarray]


def from_arrays(
    x: np.ndarray,
    y: np.ndarray,
    *,
    validation: Arrays | None = None,
    test: Arrays | None = None,
    validation_size: int | None = None,
    test_size: int | None = None,
    classes: int | None = None,
    preprocessing: Preprocessing | None = None,
    seed: int = 0,
    name: str = "arrays",
) -> Data:
    """Returns own arrays as a data set to find tickets on.

    Args:
        x: inputs [examples, ...]: images, rows of a table, sequences, tokens. uint8 of
            rank 3 and more are divided by 255, float64 becomes float32, all else stays.
        y: labels: whole numbers from 0 on, [examples] or [examples, 1], or one-hot
            [examples, classes].
        validation: inputs and labels that decide the early-stop iteration; None takes
            `validation_size` examples out of `x`.
        test: inputs and labels that nothing is decided by; None takes `test_size`
            examples out of `x`.
        validation_size: number of examples; None is a tenth, 5,000 at most.
        test_size: number of examples; None is a tenth, 10,000 at most.
        classes: number of classes; None is what the labels show.
        preprocessing: what is done to inputs before the network, instead of the above.
        seed: decides which examples are for validation and which for testing.
        name: what the data set is called in tables and run directories.

    Raises:
        UsageError: if inputs and labels do not fit together, labels are not classes, a
            part would be empty, or both a part and its size are given.

    Example:
    >>> x, y = np.zeros((100, 28, 28), np.uint8), np.arange(100) % 10
    >>> data = from_arrays(x, y)
    >>> len(data.train), len(data.validation), len(data.test), data.classes
    (81, 9, 10, 10)
    """
    train = _split(x, y, "x", "y")
    if test is None:
        size = _size(train, test_size, 10_000)
        train, tested = split_off(train, size, seed, "test", name="test_size", of="examples of x")
    else:
        tested = _given("test", test, test_size)
    if validation is None:
        size = _size(train, validation_size, 5_000)
        train, held_out = split_off(
            train, size, seed, name="validation_size", of="examples of x that are left to train on"
        )
    else:
        held_out = _given("validation", validation, validation_size)
    splits = {"x": train, "validation": held_out, "test": tested}
    for part, split in splits.items():
        _check(part, split, train, classes)
    found = 1 + max(int(split.labels.max()) for split in splits.values())
    return Data(
        name,
        train,
        held_out,
        tested,
        classes or found,
        preprocessing or Preprocessing.of(train),
    )


def _size(split: Split, size: int | None, limit: int) -> int:
    return max(1, min(len(split) // 10, limit)) if size is None else size


def _given(name: str, arrays: Arrays, size: int | None) -> Split:
    if size is not None:
        raise UsageError(f"Expected {name} or {name}_size. Received: both. Leave one out.")
    return _split(*arrays, f"{name}[0]", f"{name}[1]")


def _split(x: np.ndarray, y: np.ndarray, inputs_name: str, labels_name: str) -> Split:
    inputs, labels = np.asarray(x), _labels(np.asarray(y), labels_name)
    if inputs.ndim < 2 or inputs.dtype.kind not in "fiub":
        raise UsageError(
            f"Expected {inputs_name} to be numbers [examples, ...]. "
            f"Received: {inputs.dtype} of shape {inputs.shape}."
        )
    if len(inputs) != len(labels) or not len(labels):
        raise UsageError(
            f"Expected as many examples in {inputs_name} as in {labels_name}, and at least one. "
            f"Received: {len(inputs)} and {len(labels)}."
        )
    return Split(inputs.astype(np.float32) if inputs.dtype == np.float64 else inputs, labels)


def _labels(labels: np.ndarray, name: str) -> np.ndarray:
    """Returns int32 [examples] of any of the usual forms of class labels."""
    one_hot = (
        labels.ndim == 2
        and labels.shape[1] > 1
        and np.isin(labels, (0, 1)).all()
        and (labels.sum(axis=1) == 1).all()
    )
    if one_hot:
        return np.argmax(labels, axis=1).astype(np.int32)
    flat = labels.reshape(len(labels)) if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if flat.ndim != 1 or flat.dtype.kind not in "fiub" or (flat != np.rint(flat)).any():
        raise UsageError(
            f"Expected {name} to be whole numbers [examples] or one-hot [examples, classes]. "
            f"Received: {labels.dtype} of shape {labels.shape}."
        )
    if len(flat) and flat.min() < 0:
        raise UsageError(f"Expected {name} to be classes from 0 on. Received: {flat.min()}.")
    return flat.astype(np.int32)


def _check(part: str, split: Split, train: Split, classes: int | None) -> None:
    """Refuses inputs that differ in type or shape from one part to another, and other labels."""
    shape, dtype = train.inputs.shape[1:], train.inputs.dtype
    if (split.inputs.shape[1:], split.inputs.dtype) != (shape, dtype):
        raise UsageError(
            f"Expected {dtype} inputs of shape (examples, {', '.join(map(str, shape))}) in {part}, "
            f"as in x. Received: {split.inputs.dtype} of shape {split.inputs.shape}."
        )
    if classes is not None and split.labels.max() >= classes:
        raise UsageError(
            f"Expected labels below classes={classes}. Received: {split.labels.max()} in {part}."
        )
