"""What became of one training: plain numbers."""

import dataclasses
from typing import Any

import numpy as np


@dataclasses.dataclass(frozen=True)
class Evaluation:
    """What is known after an interval of training.

    Attributes:
        iteration: optimizer updates made so far in this level.
        train_loss: mean loss of the batches since the last evaluation; None before
            the first iteration.
        validation_loss: mean loss of the validation set.
        validation_accuracy: fraction of the validation set classified right, or the
            value of the metric that tickets are judged by.
        test_accuracy: the same of the test set; None where the curve has no point.
    """

    iteration: int
    train_loss: float | None
    validation_loss: float
    validation_accuracy: float
    test_accuracy: float | None

    def to_json(self) -> dict[str, float | int]:
        """Returns the fields, without those that are None."""
        return {k: v for k, v in dataclasses.asdict(self).items() if v is not None}


@dataclasses.dataclass(frozen=True, eq=False)
class Correct:
    """Which labels of the data that tickets are judged on a network predicts.

    Two networks that are judged on the same labels can be compared label by label, which
    tells smaller differences from chance than two accuracies do.

    Attributes:
        early_stop: bool [labels], by the weights at the early-stop iteration.
        final: bool [labels], by the weights at the last iteration.
        chance: accuracy of answering with the most frequent label always.
    """

    early_stop: np.ndarray
    final: np.ndarray
    chance: float

    def accuracy(self, which: str) -> float:
        """Returns the fraction of labels predicted at "early_stop" or "final"."""
        found = getattr(self, which)
        return int(np.count_nonzero(found)) / found.size


def chance(labels: np.ndarray) -> float:
    """Returns the accuracy of answering with the most frequent label always.

    Example:
    >>> chance(np.array([0, 1, 1, 2]))
    0.5
    """
    return int(np.max(np.unique(labels, return_counts=True)[1])) / np.size(labels)


@dataclasses.dataclass(frozen=True)
class History:
    """What became of one training.

    Attributes:
        evaluations: in the order of their iteration.
        early_stop_iteration: iteration of the minimum validation loss, the first
            if there are several; of an evaluation.
        early_stop_test_accuracy: test accuracy of the weights at that iteration.
        final_test_accuracy: test accuracy of the weights at the last iteration.
        final_train_accuracy: the same on the training set.
        seconds: time it took in this process.
        metric: what stands where accuracies are meant, and `mode`, "min" or "max", which
            of its values are better; "" for accuracy, larger being better.
        mode: see `metric`.
        step: how it was trained, "dense" or "sparse"; "" where there is no choice.
        correct: which labels are predicted; None where only accuracies are known.
    """

    evaluations: list[Evaluation]
    early_stop_iteration: int
    early_stop_test_accuracy: float
    final_test_accuracy: float
    final_train_accuracy: float
    seconds: float
    metric: str = ""
    mode: str = ""
    step: str = ""
    correct: Correct | None = dataclasses.field(default=None, compare=False)

    def arrays(self) -> dict[str, np.ndarray]:
        """Returns the evaluations by column: field name -> array [evaluations], NaN for None."""
        return to_columns(self.evaluations)

    def summary(self) -> dict[str, float | int | str]:
        """Returns the numbers that describe the training as a whole."""
        best = next(e for e in self.evaluations if e.iteration == self.early_stop_iteration)
        return {
            "iterations": self.evaluations[-1].iteration,
            "early_stop_iteration": self.early_stop_iteration,
            "early_stop_validation_loss": best.validation_loss,
            "early_stop_validation_accuracy": best.validation_accuracy,
            "early_stop_test_accuracy": self.early_stop_test_accuracy,
            "final_test_accuracy": self.final_test_accuracy,
            "final_train_accuracy": self.final_train_accuracy,
            "seconds": round(self.seconds, 3),
            **({"step": self.step} if self.step else {}),
            **({"metric": self.metric, "mode": self.mode} if self.metric else {}),
        }


def to_columns(evaluations: list[Evaluation]) -> dict[str, np.ndarray]:
    """Returns field name -> array [evaluations], NaN for None."""
    columns = {}
    for field in dataclasses.fields(Evaluation):
        values = [getattr(evaluation, field.name) for evaluation in evaluations]
        columns[field.name] = np.array([np.nan if value is None else value for value in values])
    return columns


def from_columns(columns: dict[str, np.ndarray]) -> list[Evaluation]:
    """Returns the evaluations that `to_columns` was given."""
    names = [field.name for field in dataclasses.fields(Evaluation)]
    return [
        Evaluation(*map(_unless_nan, row))
        for row in zip(*(columns[name].tolist() for name in names), strict=True)
    ]


def _unless_nan(value: Any) -> Any:
    return None if value != value else value
