"""What an experiment is: frozen dataclasses, from which the rest is derived."""

import dataclasses
import typing
from typing import Any, ClassVar

from lth_tf.errors import UsageError
from lth_tf.options import Options, option


@dataclasses.dataclass(frozen=True)
class ProcedureConfig(Options):
    """How tickets are sought, whatever trains the network."""

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
    seed: int = option(0, "Seed of the first trial; trial k has seed + k.", minimum=0)

    def procedure(self) -> str:
        """Returns the strategy and start in words."""
        words = {"oneshot": "one-shot"}.get(self.strategy, self.strategy)
        return words + (", continued" if self.start == "continue" else "")


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(ProcedureConfig):
    """Everything that decides the results of an experiment.

    The defaults are LeNet-300-100 on MNIST as in Frankle & Carbin 2019,
    arXiv:1803.03635, Figure 2; `experiments/` holds the other networks' values.
    """

    kind: ClassVar[str] = "experiment"

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
class GradualConfig(ExperimentConfig):
    """Gradual magnitude pruning of a network, the baseline beside its tickets.

    While the network trains, ever more of its smallest weights are pruned: at
    iteration t the fraction s * (1 - (1 - (t - first) / (last - first)) ** 3), where s is
    the fraction pruned in the end. Level 0 is the dense network, each further level
    one training down to one final density.

    The prune rates say how the final density is shared out: all groups are pruned as
    the same, possibly fractional, number of levels would prune them.

    Source:
        Zhu & Gupta 2017, arXiv:1710.01878, section 3. They begin once the network has
        trained for some iterations, see no difference between 100 and 1,000
        iterations from one pruning to the next, and train on after the last. Where it
        begins and ends depends on the task: here after a tenth and a half of the training.
    """

    kind: ClassVar[str] = "gradual"

    # What the other fields must be, because nothing of it applies.
    FIXED: ClassVar[dict[str, Any]] = {
        "strategy": "iterative",
        "start": "rewind",
        "method": "magnitude",
        "scope": "layerwise",
        "rewind_iteration": 0,
        "reinits": 0,
        "random_masks": 0,
        "random_mask_weights": "new",
    }

    final_density: tuple[float, ...] = option(
        (0.036,),
        "Fractions of the prunable weights kept in the end, with commas between; "
        "each is a training of its own.",
    )
    levels: int = option(0, "Follows from final_density.", minimum=0, extent=True)
    prune_begin: float = option(
        0.1, "Fraction of the training after which pruning begins.", minimum=0.0, below=1.0
    )
    prune_end: float = option(
        0.5,
        "Fraction of the training after which it ends; the rest is at the final density.",
        minimum=0.0,
        maximum=1.0,
    )
    prune_frequency: int = option(100, "Iterations from one pruning to the next.", minimum=1)

    def __post_init__(self):
        super().__post_init__()
        if not self.final_density or not all(0 < density < 1 for density in self.final_density):
            raise UsageError(
                "Expected final_density to be fractions between 0 and 1. "
                f"Received: final_density={','.join(map(str, self.final_density))}."
            )
        for name, value in self.FIXED.items():
            if getattr(self, name) != value:
                raise UsageError(
                    f"Expected {name}={value}: gradual pruning knows nothing else. "
                    f"Received: {name}={getattr(self, name)}."
                )
        if self.levels not in (0, len(self.final_density)):
            raise UsageError(
                f"Expected levels={len(self.final_density)}, as many as final_density has "
                f"values. Received: levels={self.levels}. Leave it out."
            )
        self.prunings()

    @classmethod
    def of(cls, config: ExperimentConfig, **changes) -> typing.Self:
        """Returns gradual pruning of an experiment's network, with its training and changes."""
        fields = {f.name: getattr(config, f.name) for f in dataclasses.fields(ExperimentConfig)}
        return cls(**{**fields, **cls.FIXED, "levels": 0, **changes})

    def prunings(self) -> range:
        """Returns the iterations at which weights are pruned, the last at the final density.

        Pruning at iteration t comes before the t-th update, the first update being 1.

        Raises:
            UsageError: if there is room for fewer than two.
        """
        first = max(1, round(self.prune_begin * self.iterations))
        room = round(self.prune_end * self.iterations) - first
        steps = room // self.prune_frequency
        if steps < 1:
            raise UsageError(
                f"Expected at least prune_frequency={self.prune_frequency} iterations from "
                f"prune_begin to prune_end. Received: prune_begin={self.prune_begin:g}, "
                f"prune_end={self.prune_end:g} of {self.iterations} iterations."
            )
        return range(first, first + steps * self.prune_frequency + 1, self.prune_frequency)

    def procedure(self) -> str:
        """Returns the name of the method."""
        return "gradual pruning"


@dataclasses.dataclass(frozen=True)
class FitConfig(ProcedureConfig):
    """Everything about tickets that `TicketCallback` finds in `model.fit`.

    The model, its data and its optimizer are the user's own and no part of it.
    """

    kind: ClassVar[str] = "fit"

    # Keras counts up the names of models that are built anew.
    network: str = option("", "Name of the model.", extent=True)
    dataset: str = option("data of its own", "What it is trained on.")
    epochs_per_level: int = option(1, "Epochs of a level.", minimum=1)
    rewind_epoch: int = option(
        0, "Epoch whose weights every level starts from; 0 is before training.", minimum=0
    )
    prune_rates: str = option("", "Fraction of the remaining weights pruned a level, by weight.")
    metric: str = option("", "Metric that tickets are judged by.")
    mode: str = option(
        "auto",
        "Which values of the metric are better; auto infers it as Keras does.",
        choices=("auto", "min", "max"),
    )
    judged_on: str = option("validation data", "Data that tickets are judged on.")


def from_record(kind: str, values: dict[str, Any]) -> ExperimentConfig | FitConfig:
    """Returns the config that a run directory's config.json holds.

    Raises:
        UsageError: if the kind or a field is unknown, or a value out of bounds.
    """
    kinds = {config.kind: config for config in (ExperimentConfig, FitConfig, GradualConfig)}
    if kind not in kinds:
        raise UsageError(
            f"Expected a run of the kind {', '.join(kinds)}. Received: {kind!r}. "
            "The file was written by another version of lth_tf."
        )
    return kinds[kind].from_json(values)


@dataclasses.dataclass(frozen=True)
class RunOptions(Options):
    """How and where an experiment is run.

    Nothing of it enters the run's name. `jit`, `deterministic`, and `jobs` through the
    number of threads, change results by rounding; all are kept in config.json.
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
    deterministic: bool = option(
        True,
        "Same bits for the same seed on accelerators too; a CPU always gives them. "
        "--nodeterministic gives that up for speed.",
    )
    checkpoint_seconds: float = option(
        60.0, "Seconds between checkpoints inside a level.", minimum=0.0
    )
    overwrite: bool = option(False, "Delete earlier results of the same run first.")
    dry_run: bool = option(False, "Print the plan and train nothing; loads the data set.")
    tensorboard: bool = option(False, "Also write TensorBoard event files into the run directory.")


def run_name(config: Options, defaults: Options) -> str:
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


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).replace("/", "_")
