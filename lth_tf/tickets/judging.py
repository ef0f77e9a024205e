"""What tickets are judged by: a metric, which direction of it is better, and its unit.

No Keras is needed here: reports judge finished runs with it.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports

with lazy_imports():
    from lth_tf import keras_internals

LOSS = "loss"
_ACCURACY = ("acc", "accuracy")

Mode = Literal["min", "max"]


def metric_name(logs: Iterable[str], wanted: str = "") -> str:
    """Returns the name of the metric that tickets are judged by.

    Args:
        logs: names of what `fit` reports of an epoch with validation.
        wanted: the name the user gave, as in `compile` or with "val_" before it;
            "loss" and "val_loss" are the validation loss. "": the accuracy, or the
            loss where nothing but losses is compiled.

    Raises:
        UsageError: if there is no such metric, or no single one to choose.

    Example:
    >>> metric_name(["loss", "mae", "accuracy", "val_loss", "val_mae", "val_accuracy"])
    'accuracy'
    >>> metric_name(["loss", "mae", "val_loss", "val_mae"], "val_mae")
    'mae'
    """
    logs = list(logs)
    names = [name for name in logs if f"val_{name}" in logs]
    metrics = [name for name in names if not _is_loss(name)]
    if wanted:
        found = [name for name in (wanted, wanted.removeprefix("val_")) if name in names][:1]
    elif metrics:
        found = [name for name in _ACCURACY[::-1] if name in metrics][:1]
        found = found or [name for name in metrics if is_accuracy(name)]
    else:
        found = [LOSS]
    if len(found) != 1:
        raise UsageError(
            "Expected one compiled metric to judge tickets by: an accuracy, or the one that "
            f"metric= names. Received: metric={wanted or None!r} and "
            f"{', '.join(metrics) or 'no metrics'}. "
            'metric="loss" judges by the validation loss alone.'
        )
    return found[0]


def direction(name: str, metrics: Iterable[Any] = (), mode: str = "auto") -> Mode:
    """Returns "max" if larger is better, else "min".

    Args:
        name: of the metric, as `fit` reports it; with several outputs the output's
            name is before it.
        metrics: the model's metrics, `model.metrics`.
        mode: "min" or "max" if it was given; "auto" to infer it as Keras does: each of
            its metrics knows its direction. Losses are smaller the better, accuracies larger.

    Raises:
        UsageError: if it cannot be inferred.

    Example:
    >>> direction("val_loss"), direction("accuracy"), direction("f1", mode="max")
    ('min', 'max', 'max')
    """
    if mode != "auto":
        return "max" if mode == "max" else "min"
    known = [
        (metric.name, keras_internals.better_values(metric))
        for metric in flat_metrics(metrics)
        if keras_internals.better_values(metric)
    ]
    found = {way for metric, way in known if metric == name}
    found = found or {way for metric, way in known if name.endswith(f"_{metric}")}
    if len(found) == 1:
        return "max" if found == {"up"} else "min"
    if _is_loss(name):
        return "min"
    if is_accuracy(name):
        return "max"
    raise UsageError(
        f"Expected a metric whose direction Keras knows. Received: metric={name!r}. "
        'Give mode="max" if larger is better, mode="min" if smaller is.'
    )


def at_least_as_good(value: float, reference: float, mode: str, tolerance: float = 0.0) -> bool:
    """Returns whether a value is as good as a reference, or at most `tolerance` worse.

    Example:
    >>> at_least_as_good(0.97, 0.98, "max", 0.01), at_least_as_good(0.5, 0.3, "min")
    (True, False)
    """
    return value <= reference + tolerance if mode == "min" else value >= reference - tolerance


def judged_by(summary: Mapping[str, Any]) -> tuple[str, Mode]:
    """Returns the metric of a recorded level and its direction; accuracy where none is named."""
    return summary.get("metric") or "accuracy", summary.get("mode") or "max"


def is_accuracy(name: str) -> bool:
    """Returns whether a metric is a fraction of examples, and so printed as percent."""
    return name.endswith(_ACCURACY)


def in_its_unit(value: float, metric: str) -> float:
    """Returns a metric's value for a table: accuracies in percent, others as they are."""
    return round(100 * value, 3) if is_accuracy(metric) else float(f"{value:.6g}")


def text(value: float, metric: str) -> str:
    """Returns a metric's value as it is printed.

    Example:
    >>> text(0.9757, "val_accuracy"), text(0.1234567, "mae")
    ('97.57 %', 'mae 0.12346')
    """
    return f"{100 * value:.2f} %" if is_accuracy(metric) else f"{metric} {value:.5g}"


def line(summary: dict[str, Any]) -> str:
    """Returns what is printed of a finished level."""
    metric, _ = judged_by(summary)
    control = summary["control"]
    early_stop, final = (
        text(summary[f"{name}_test_accuracy"], metric) for name in ("early_stop", "final")
    )
    name = f"level {summary['level']}" + (f", {control}" if control else "")
    return (
        f"{name}: {100 * summary['density']:.2f} % remaining, early stop at iteration "
        f"{summary['early_stop_iteration']:,} with {early_stop}, {final} at the last"
    )


def _is_loss(name: str) -> bool:
    return name.removeprefix("val_") == LOSS or name.endswith(f"_{LOSS}")


def flat_metrics(metrics: Iterable[Any]) -> list[Any]:
    """Returns metrics and those inside containers such as the compiled ones."""
    found = []
    for metric in metrics:
        inner = getattr(metric, "metrics", None)
        found += [metric] if not inner else flat_metrics(inner)
    return found
