"""Which labels a model in `fit` predicts, where arrays judge it by an accuracy."""

import math
from typing import Any

import keras
import numpy as np

from lth_tf.keras_internals import metric_function
from lth_tf.runs.history import Correct, chance
from lth_tf.tickets import judging
from lth_tf.tickets.held import Snapshot
from lth_tf.tickets.running_fit import running_fit


def judged_arrays(model: keras.Model, test_data: Any) -> tuple[Any, np.ndarray] | None:
    """Returns inputs and labels that a running `fit` judges by; None if they are no arrays.

    Args:
        model: what is trained.
        test_data: those that were given for it; None if the validation data judge.
    """
    if test_data is None:
        fit = running_fit(model)
        test_data = tuple(fit.get(name) for name in ("val_x", "val_y", "val_sample_weight"))
    if not isinstance(test_data, (tuple, list)) or len(test_data) < 2:
        return None
    inputs, labels, *weights = test_data
    if any(weight is not None for weight in weights) or not hasattr(labels, "__array__"):
        return None
    leaves = keras.tree.flatten(inputs)
    if not leaves or not all(hasattr(leaf, "__array__") for leaf in leaves):
        return None
    return inputs, np.asarray(labels)


def correct_labels(
    model: keras.Model,
    data: tuple[Any, np.ndarray] | None,
    metric: str,
    early_stop: tuple[Snapshot, float],
    final: tuple[Snapshot, float],
) -> Correct | None:
    """Returns which labels two states of a model predict; None if they cannot be told one by one.

    The model is left at the last of the states.

    Args:
        model: what is judged.
        data: what `judged_arrays` returned.
        metric: name of the metric that judges.
        early_stop: the weights at the early stop, and their accuracy.
        final: those at the end.
    """
    function = _accuracy_of(model, metric)
    if data is None or function is None:
        return None
    inputs, labels = data
    found = []
    for weights, accuracy in (early_stop, final):
        weights.restore()
        try:
            right = np.asarray(function(labels, model.predict(inputs, verbose=0))).ravel()
        except Exception:  # A model that only its own test_step can call.
            return None
        # Of other metrics by the name of an accuracy, and of models that judge in their own way.
        if not np.isin(right, (0, 1)).all() or not math.isclose(
            right.mean(dtype=np.float64), accuracy, abs_tol=1e-6
        ):
            return None
        found.append(right.astype(bool))
    early, last = found
    return Correct(early, last, chance(_classes(labels, early.size)))


def _accuracy_of(model: keras.Model, metric: str) -> Any:
    if not judging.is_accuracy(metric):
        return None
    named = [m for m in judging.flat_metrics(model.metrics) if m.name == metric]
    return metric_function(named[0]) if len(named) == 1 else None


def _classes(labels: np.ndarray, count: int) -> np.ndarray:
    """Returns the class of each of `count` labels, which may be one-hot."""
    return labels.argmax(-1) if labels.size > count and labels.ndim > 1 else labels
