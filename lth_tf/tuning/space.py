"""The values that a search tries, around those of a config."""

from collections.abc import Iterable

import keras_tuner

from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError

# Other values of these would change what the trials are compared with, or by.
_OF_THE_SEARCH = {"network", "dataset", "validation_size", "seed"}


def search_space(
    config: ExperimentConfig, groups: Iterable[str], names: Iterable[str] = ()
) -> keras_tuner.HyperParameters:
    """Returns the values to search, each with the config's own as its default.

    * prune_rate_conv, prune_rate_fc, prune_rate_output, those that the network has and
      the config prunes: half to twice the config's rate;
    * learning_rate: a tenth to three times the config's, by its logarithm;
    * warmup_iterations: 0 to a quarter of the iterations;
    * rewind_iteration: 0 to a tenth of the iterations.

    Args:
        config: what the search goes out from.
        groups: the groups of the network's weights.
        names: the fields to search; all of the above if empty.

    Raises:
        UsageError: if a name is none of them, or there is nothing to search.

    Example:
    >>> space = search_space(ExperimentConfig(), {"fc", "output"})
    >>> [(entry.name, entry.min_value, entry.max_value) for entry in space.space][:2]
    [('prune_rate_fc', 0.1, 0.4), ('prune_rate_output', 0.05, 0.2)]
    """
    possible = _ranges(config, set(groups))
    names = list(names) or list(possible)
    unknown = [name for name in names if name not in possible]
    if unknown or not names:
        raise UsageError(
            f"Expected fields to search out of {', '.join(possible) or 'none'}, those that "
            f"{config.network!r} has and the config uses. "
            f"Received: {', '.join(unknown) or 'none'}."
        )
    space = keras_tuner.HyperParameters()
    values = config.as_dict()
    for name in (name for name in possible if name in names):
        low, high, step = possible[name]
        if step is not None:
            space.Int(name, low, high, step=step, default=values[name])
        else:
            sampling = "log" if name == "learning_rate" else "linear"
            space.Float(name, low, high, sampling=sampling, default=values[name])
    return space


def check_space(space: keras_tuner.HyperParameters) -> None:
    """Refuses values that cannot be searched.

    Raises:
        UsageError: if a name is no field of ExperimentConfig, or one that all
            trials must share.
    """
    fields = ExperimentConfig().as_dict(in_run_name=True).keys() - set(_OF_THE_SEARCH)
    unknown = sorted({entry.name for entry in space.space} - fields)
    if unknown or not space.space:
        raise UsageError(
            "Expected hyperparameters named as the fields of ExperimentConfig, without those that "
            f"all trials share. Received: {', '.join(unknown) or 'none'}."
        )


def _ranges(
    config: ExperimentConfig, groups: set[str]
) -> dict[str, tuple[float, float, int | None]]:
    """Returns field -> smallest value, largest, and the step between whole numbers."""
    ranges: dict[str, tuple[float, float, int | None]] = {}
    for group, rate in config.prune_rates().items():
        if group in groups and rate:
            ranges[f"prune_rate_{group}"] = (
                short(rate / 2),
                short(min(2 * rate, (1 + rate) / 2)),
                None,
            )
    if config.learning_rate:
        rate = config.learning_rate
        ranges["learning_rate"] = (short(rate / 10), short(3 * rate), None)
    iterations = config.iterations
    for name, part in (("warmup_iterations", 4), ("rewind_iteration", 10)):
        if name not in config.as_dict():
            continue
        highest = max(iterations // part, config.as_dict()[name])
        if highest:
            ranges[name] = (0, highest, max(1, iterations // (10 * part)))
    return ranges


def short(value: float) -> float:
    """Returns a number rounded to 3 digits: what is printed is what was tried.

    Example:
    >>> short(0.0012345), short(0.30000000000000004)
    (0.00123, 0.3)
    """
    return float(f"{value:.3g}")
