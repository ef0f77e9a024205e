"""How good outputs are, by the model's own metrics or by the shape of outputs and labels."""

from collections.abc import Callable
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from .arrays import Arrays
from .decisions import Kind, decide, kind_of

Judge = Callable[[Arrays, Any], tuple[str, float] | None]
"""Outputs and labels -> name and value of a metric; None if it does not apply."""


def score(outputs: Arrays, labels: Any, judge: Judge | None = None) -> str:
    """Returns how good outputs are, as text: "98.31 %", "mae 0.123"; "-" if nobody knows.

    Args:
        outputs: name of the output -> array.
        labels: array, or name of the output -> array; None if there are none.
        judge: the model's own metrics, see `compiled_metrics`.
    """
    if labels is None:
        return "-"
    result = judge(outputs, labels) if judge else None
    if result is None:
        result = _by_shape(outputs, labels)
    if result is None:
        return "-"
    name, value = result
    return f"{100 * value:.2f} %" if "acc" in name else f"{name} {value:.4g}"


def compiled_metrics(model: keras.Model) -> Judge | None:
    """Returns the first metric that a model was compiled with; None if there is none.

    Example:
    >>> model = keras.Sequential([keras.Input((2,)), keras.layers.Dense(1)])
    >>> model.compile(loss="mse", metrics=["mae"])
    >>> judge = compiled_metrics(model)
    >>> judge({"outputs": np.ones((2, 1), np.float32)}, np.zeros((2, 1), np.float32))
    ('mae', 1.0)
    """
    if not getattr(model, "compiled", False):
        return None

    def judge(outputs: Arrays, labels: Any) -> tuple[str, float] | None:
        results = next(iter(outputs.values())) if len(outputs) == 1 else outputs
        try:
            model.reset_metrics()
            values = model.compute_metrics(None, labels, results)
        except (TypeError, ValueError, KeyError, tf.errors.OpError):
            # Labels of another form than it was trained on.
            return None
        own = {name: float(value) for name, value in values.items() if not name.endswith("loss")}
        return next(iter(own.items()), None)

    return judge


def _by_shape(outputs: Arrays, labels: Any) -> tuple[str, float] | None:
    if isinstance(labels, dict):
        pairs = [(outputs[name], labels[name]) for name in labels if name in outputs]
    else:
        pairs = [(next(iter(outputs.values())), labels)]
    return _compare(*pairs[0]) if pairs else None


def _compare(outputs: np.ndarray, labels: np.ndarray) -> tuple[str, float] | None:
    kind = kind_of(outputs, {})
    if outputs.ndim > 1 and outputs.shape[-1] == 1 and labels.shape == outputs.shape[:-1]:
        outputs = outputs[..., 0]
    if labels.dtype.kind not in "iubf":
        return None
    whole = labels.dtype.kind != "f" or bool((labels == np.rint(labels)).all())
    if kind is Kind.CLASSES and whole:
        if labels.shape == outputs.shape and (labels.sum(-1) == 1).all():
            labels = labels.argmax(-1)
        elif labels.shape == (*outputs.shape[:-1], 1):
            labels = labels[..., 0]
        if labels.shape == outputs.shape[:-1]:
            return "accuracy", float(np.mean(decide(outputs, kind) == labels))
    if labels.shape != outputs.shape:
        return None
    if kind in (Kind.PROBABILITIES, Kind.SCORES) and np.isin(labels, (0, 1)).all():
        return "accuracy", float(np.mean(decide(outputs, kind) == (labels == 1)))
    return "mae", float(np.mean(np.abs(outputs - labels)))
