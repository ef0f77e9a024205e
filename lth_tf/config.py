"""What an experiment is: one frozen dataclass, from which the rest is derived.

A field carries its default, help text and bounds. Command-line flags, the JSON
in a run directory and the run's name all come from the fields, so there is one
place to add or change one.
"""

import dataclasses
import types
import typing
from typing import Any

from lth_tf.errors import UsageError


def option(
    default: Any,
    help: str,
    *,
    minimum: float | None = None,
    maximum: float | None = None,
    below: float | None = None,
    choices: tuple[str, ...] = (),
    extent: bool = False,
) -> Any:
    """Returns a dataclass field with a help text and bounds.

    Args:
        default: the default value.
        help: one line for `--help`.
        minimum: smallest value allowed.
        maximum: largest value allowed.
        below: values must be smaller than this.
        choices: the strings allowed; any if empty.
        extent: True for a field that says how much of an experiment is run and
            changes no result that is already there. It is no part of the run's
            name, so a finished run can be extended.
    """
    metadata = {
        "help": help,
        "minimum": minimum,
        "maximum": maximum,
        "below": below,
        "choices": choices,
        "extent": extent,
    }
    return dataclasses.field(default=default, metadata=metadata)


class Options:
    """Base of the option dataclasses: checks every field against its type and bounds.

    Raises:
        UsageError: at construction, naming the field, what was expected and
            what was received.
    """

    def __post_init__(self):
        for field in dataclasses.fields(self):
            _check(field, getattr(self, field.name))

    def to_json(self) -> dict[str, Any]:
        """Returns the fields as a dict that JSON can hold."""
        return {
            name: list(value) if isinstance(value, tuple) else value
            for name, value in dataclasses.asdict(self).items()
        }

    @classmethod
    def from_json(cls, values: dict[str, Any]) -> typing.Self:
        """Returns the object that `to_json` described.

        Raises:
            UsageError: if a field is unknown or its value out of bounds.
        """
        known = {field.name for field in dataclasses.fields(cls)}
        unknown = sorted(set(values) - known)
        if unknown:
            raise UsageError(
                f"Expected fields of {cls.__name__}. Received: {', '.join(unknown)}. "
                "The file was written by another version of lth_tf."
            )
        return cls(**{k: tuple(v) if isinstance(v, list) else v for k, v in values.items()})


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(Options):
    """Everything that decides the results of an experiment.

    The defaults are LeNet-300-100 on MNIST as in Frankle & Carbin 2019,
    arXiv:1803.03635, Figure 2; `experiments/` holds the other networks' values.
    """

    network: str = option("lenet", "Network to train, by its name in lth_tf/networks.")
    dataset: str = option(
        "mnist", "Images to learn: digits (no download) or any TFDS image classification set."
    )
    validation_size: int | None = option(
        None,
        "Training examples set aside for validation. Default: 5000; for digits 200.",
        minimum=1,
    )

    iterations: int = option(50_000, "Training iterations of a level.", minimum=1)
    batch_size: int = option(60, "Examples an iteration.", minimum=1)
    optimizer: str = option("adam", "Optimizer.", choices=("adam", "sgd", "momentum"))
    learning_rate: float = option(1.2e-3, "Learning rate.", minimum=0.0)
    momentum: float = option(
        0.9, "Momentum; only for --optimizer=momentum.", minimum=0.0, below=1.0
    )

    weight_decay: float = option(
        0.0, "L2 penalty: this times a kernel's weights is added to its gradient.", minimum=0.0
    )
    lr_drops: tuple[int, ...] = option(
        (), "Iterations, with commas between, at which the learning rate is divided by 10."
    )
    warmup_iterations: int = option(
        0, "Iterations over which the learning rate rises from 0 in a line.", minimum=0
    )
    dropout_rate: float = option(
        0.0, "Dropout before each fully-connected layer.", minimum=0.0, below=1.0
    )
    augment: bool = option(False, "Flip at random, pad by 4 pixels and crop at random.")

    levels: int = option(
        20, "Train-prune rounds after the dense network.", minimum=0, maximum=100, extent=True
    )
    strategy: str = option(
        "iterative",
        "Prune the level before, or the dense network to each level's size in one shot.",
        choices=("iterative", "oneshot"),
    )
    start: str = option(
        "rewind",
        "Start a level from the origin's weights, or continue from the trained ones.",
        choices=("rewind", "continue"),
    )
    method: str = option("magnitude", "Pruning criterion, by its name in lth_tf/pruning.")
    scope: str = option(
        "layerwise",
        "Prune each layer by its rate, or rank all layers of the same rate together.",
        choices=("layerwise", "global"),
    )
    prune_rate_conv: float = option(
        0.0, "Fraction of the remaining convolution weights pruned a level.", minimum=0.0, below=1.0
    )
    prune_rate_fc: float = option(
        0.2,
        "Fraction of the remaining fully-connected weights pruned a level.",
        minimum=0.0,
        below=1.0,
    )
    prune_rate_output: float = option(
        0.1, "Fraction of the remaining output weights pruned a level.", minimum=0.0, below=1.0
    )
    rewind_iteration: int = option(
        0, "Iteration whose weights every level starts from; 0 is initialization.", minimum=0
    )

    reinits: int = option(
        0,
        "Controls at every level with the ticket's mask and a new initialization.",
        minimum=0,
        extent=True,
    )
    random_masks: int = option(
        0,
        "Controls at every level with a random mask of the same sizes.",
        minimum=0,
        extent=True,
    )
    random_mask_weights: str = option(
        "new",
        "What a random mask starts from: a new initialization or the origin.",
        choices=("new", "origin"),
    )

    eval_interval: int = option(
        100, "Iterations between evaluations of the validation loss.", minimum=1
    )
    test_interval: int = option(
        0,
        "Iterations between points of the test accuracy curve, a multiple of --eval_interval; "
        "0 tests only at the early-stop iteration and the end.",
        minimum=0,
    )
    seed: int = option(0, "Seed of the first trial; trial k has seed + k.", minimum=0)
    trials: int = option(1, "Seeds to run.", minimum=1, extent=True)

    def __post_init__(self):
        super().__post_init__()
        if self.rewind_iteration >= self.iterations:
            raise UsageError(
                f"Expected rewind_iteration below iterations={self.iterations}. "
                f"Received: rewind_iteration={self.rewind_iteration}."
            )
        if self.test_interval % self.eval_interval:
            raise UsageError(
                "Expected test_interval to be a multiple of "
                f"eval_interval={self.eval_interval}. "
                f"Received: test_interval={self.test_interval}."
            )

    def prune_rates(self) -> dict[str, float]:
        """Returns group -> fraction of the remaining weights pruned a level."""
        return {
            "conv": self.prune_rate_conv,
            "fc": self.prune_rate_fc,
            "output": self.prune_rate_output,
        }


@dataclasses.dataclass(frozen=True)
class RunOptions(Options):
    """How and where an experiment is run.

    Nothing of it enters the run's name. `jit`, and `jobs` through the number of
    threads, change results by rounding; both are kept in config.json.
    """

    runs_dir: str = option("runs", "Folder that all run directories lie in.")
    data_dir: str = option("", "TFDS folder. Default: TFDS_DATA_DIR or ~/tensorflow_datasets.")
    jobs: int = option(
        1, "Trials run side by side, each in a process with its share of the cores.", minimum=1
    )
    jit: str = option(
        "auto",
        "Compile with XLA. auto: on for accelerators; on a CPU if there is no convolution.",
        choices=("auto", "on", "off"),
    )
    checkpoint_seconds: float = option(
        60.0, "Seconds between checkpoints inside a level.", minimum=0.0
    )
    overwrite: bool = option(False, "Delete earlier results of the same run first.")
    dry_run: bool = option(False, "Print the plan and train nothing; loads the data set.")
    tensorboard: bool = option(False, "Also write TensorBoard event files into the run directory.")


def run_name(config: ExperimentConfig, defaults: ExperimentConfig) -> str:
    """Returns the folder name of a run: the changed fields, sorted, or "default".

    The seed is a folder of its own, and extent fields are left out.

    Example:
    >>> base = ExperimentConfig()
    >>> run_name(dataclasses.replace(base, prune_rate_fc=0.3, iterations=500), base)
    'iterations=500,prune_rate_fc=0.3'
    """
    changed = [
        f"{field.name}={_text(getattr(config, field.name))}"
        for field in sorted(dataclasses.fields(config), key=lambda f: f.name)
        if not field.metadata["extent"]
        and field.name != "seed"
        and getattr(config, field.name) != getattr(defaults, field.name)
    ]
    return ",".join(changed) or "default"


def value_type(field: dataclasses.Field) -> tuple[type, bool]:
    """Returns a field's type and whether None is allowed.

    Example:
    >>> fields = {f.name: f for f in dataclasses.fields(ExperimentConfig)}
    >>> value_type(fields["validation_size"])
    (<class 'int'>, True)
    """
    if isinstance(field.type, types.UnionType):
        (kind,) = [t for t in typing.get_args(field.type) if t is not types.NoneType]
        return kind, True
    return typing.get_origin(field.type) or field.type, False


def bounds_text(field: dataclasses.Field) -> str:
    """Returns a field's bounds in words, "" if it has none.

    Example:
    >>> fields = {f.name: f for f in dataclasses.fields(ExperimentConfig)}
    >>> bounds_text(fields["momentum"])
    'in [0.0, 1.0)'
    """
    limits = field.metadata
    if limits["choices"]:
        return "one of " + ", ".join(limits["choices"])
    low, high, below = limits["minimum"], limits["maximum"], limits["below"]
    if low is not None and below is not None:
        return f"in [{low}, {below})"
    if low is not None and high is not None:
        return f"in [{low}, {high}]"
    return "" if low is None else f"at least {low}"


def _check(field: dataclasses.Field, value: Any) -> None:
    kind, optional = value_type(field)
    if value is None and optional:
        return
    allowed = (int, float) if kind is float else kind
    limits = field.metadata
    fits = isinstance(value, allowed) and (kind is bool or not isinstance(value, bool))
    if fits and isinstance(value, (int, float)):
        # Written so that NaN fails.
        fits = all(
            ok
            for bound, ok in (
                (limits["minimum"], limits["minimum"] is None or value >= limits["minimum"]),
                (limits["maximum"], limits["maximum"] is None or value <= limits["maximum"]),
                (limits["below"], limits["below"] is None or value < limits["below"]),
            )
        )
    if fits and limits["choices"]:
        fits = value in limits["choices"]
    if not fits:
        bounds = bounds_text(field)
        raise UsageError(
            f"Expected {field.name} to be {_kind_text(kind)}{bounds and ' ' + bounds}. "
            f"Received: {field.name}={value!r}."
        )


def _kind_text(kind: type) -> str:
    return {int: "a whole number", float: "a number", str: "text", bool: "true or false"}.get(
        kind, "whole numbers"
    )


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).replace("/", "_")
