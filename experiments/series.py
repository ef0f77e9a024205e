"""What a report calls its curves: in words, and only by what tells them apart."""

from collections.abc import Iterable, Sequence
from typing import Any

from lth_tf.config import ExperimentConfig, FitConfig
from lth_tf.runs.run_dir import RunDir

Config = ExperimentConfig | FitConfig
Values = dict[str, Any]

# The method's label says it, or it is how much of a method is run.
_TOLD_OTHERWISE = ("seed", "strategy", "start", "final_density")
# They say how often is measured, and change no result.
_MEASURING = ("eval_interval", "test_interval")
_WORDS = {
    "prune_rate_conv": "conv prune rate",
    "prune_rate_fc": "fc prune rate",
    "prune_rate_output": "output prune rate",
    "lr_drops": "learning-rate drops",
    "epochs_per_level": "epochs",
    "random_mask_weights": "random mask from",
}
_LONGEST = 24  # characters of a value; longer ones are numbered


def labels(runs: Sequence[RunDir]) -> list[str]:
    """Returns what tells each run from the others, seeds and controls aside; "" for nothing."""
    configs = [run.config() for run in runs]
    names = [experiment_of(run, config) for run, config in zip(runs, configs, strict=True)]
    values = [_values(config) for config in configs]
    found = _labels(names, values, left_out=_MEASURING)
    marked = {(label, config.seed) for label, config in zip(found, configs, strict=True)}
    # Unless two runs of a seed only measured at other iterations.
    return found if len(marked) == len(runs) else _labels(names, values, left_out=())


def experiment_of(run: RunDir, config: Config) -> str:
    """Returns the folder an experiment's runs lie in; for `model.fit` the model's name."""
    return config.network if config.kind == "fit" else run.path.resolve().parent.parent.name


def _values(config: Config) -> Values:
    """Returns the fields that can tell runs apart, the method in words first."""
    fields = config.as_dict(in_run_name=True)
    others = {name: v for name, v in fields.items() if name not in ("method", *_TOLD_OTHERWISE)}
    return {"method": config.method.label(), **others}


def _labels(names: Sequence[str], values: Sequence[Values], left_out: Sequence[str]) -> list[str]:
    differing = _differing(names, values, left_out)
    several = len(set(names)) > 1
    found = []
    for experiment, fields in zip(names, values, strict=True):
        words = [experiment] if several else []
        for name, seen in differing.items():
            if name in fields:
                words.append(_words(name, fields[name], seen))
        found.append(", ".join(words))
    return found


def _differing(
    names: Sequence[str], values: Sequence[Values], left_out: Sequence[str]
) -> dict[str, list[Any]]:
    """Returns name -> all its values, of fields that differ within an experiment."""
    seen: dict[tuple[str, str], list[Any]] = {}
    for experiment, fields in zip(names, values, strict=True):
        for name, value in fields.items():
            of_name = seen.setdefault((name, experiment), [])
            if value not in of_name:
                of_name.append(value)
    differing = dict.fromkeys(
        name for (name, _), found in seen.items() if len(found) > 1 and name not in left_out
    )
    return {
        name: _unique(v for (other, _), found in seen.items() if other == name for v in found)
        for name in differing
    }


def _unique(values: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for value in values:
        found += [] if value in found else [value]
    return found


def _words(name: str, value: Any, seen: list[Any]) -> str:
    """Returns a field with its value in words.

    Example:
    >>> _words("lr_drops", (20_000, 25_000), []), _words("augment", False, [])
    ('learning-rate drops at 20,000 and 25,000', 'no augment')
    >>> _words("method", "one-shot", []), _words("dropout_rate", 0.0, [])
    ('one-shot', 'dropout rate 0')
    """
    words = _WORDS.get(name, name.replace("_", " "))
    if name == "method":
        return value
    if isinstance(value, bool):
        return words if value else f"no {words}"
    if isinstance(value, tuple):
        numbers = " and ".join(map(_number, value))
        return f"{words} at {numbers}" if numbers else f"no {words}"
    text = _number(value)
    if len(text) > _LONGEST:
        text = str(1 + seen.index(value))
    return f"{words} {text}"


def _number(value: Any) -> str:
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:g}" if isinstance(value, float) else str(value)
