"""What an experiment is: frozen dataclasses, from which the rest is derived."""

import dataclasses
import itertools
from typing import Any, ClassVar

from lth_tf.errors import UsageError
from lth_tf.options import LARGEST, Options, option
from lth_tf.registry import Registry

# Found by name when a config is made: the rooms themselves stand above this one.
METHODS = Registry("method", package="lth_tf.methods")
CONTROLS = Registry("control", package="lth_tf.controls")
CRITERIA = Registry("criterion", package="lth_tf.pruning")
SCOPES = Registry("scope", package="lth_tf.pruning.scopes")
GRANULARITIES = Registry("granularity", package="lth_tf.pruning.granularities")
NETWORKS = Registry("network", package="lth_tf.networks")


@dataclasses.dataclass(frozen=True)
class ProcedureConfig(Options):
    """How tickets are sought, whatever trains the network.

    `method` is a name or a `Method`, and always a `Method` once the config is made;
    `controls` are those that are asked for.
    """

    kind: ClassVar[str]

    method: Any = option(
        "imp", "How tickets are found, by its name in lth_tf/methods.", part_of=METHODS
    )
    controls: Any = option((), "What tickets are compared with.", part_of=CONTROLS)
    control_levels: tuple[int, ...] = option(
        (),
        "Levels that controls are trained at, comma-separated. Default: all.",
        in_run_name=False,
    )
    levels: int = option(
        20,
        "Train-prune rounds after the dense network.",
        minimum=0,
        maximum=100,
        in_run_name=False,
    )
    target_density: float = option(
        0.0,
        "Fraction of the prunable weights kept at the last level, in place of how much a level "
        "prunes: the prune rates only say how it is shared out. 0: the rates as they are.",
        minimum=0.0,
        below=1.0,
    )
    criterion: str = option("magnitude", "Which weights stay, by its name in lth_tf/pruning.")
    scope: str = option(
        "layerwise",
        "How many weights each layer keeps, by its name in lth_tf/pruning/scopes: its rate's "
        "(layerwise), ranked with all layers of that rate (global), or by layer densities "
        "(uniform, erk, smart_ratio).",
    )
    granularity: str = option(
        "weight",
        "What is kept or pruned as one, by its name in lth_tf/pruning/granularities: weight, "
        "channel (filters, units of dense layers, attention heads), 1x4, 1x16 (blocks), 2:4.",
    )
    seed: int = option(0, "Seed; replicate k has seed + k.", minimum=0)

    def __post_init__(self) -> None:
        if callable(self.criterion):
            object.__setattr__(self, "criterion", CRITERIA.name_of(self.criterion))
        SCOPES.get(self.scope)
        GRANULARITIES.get(self.granularity)
        super().__post_init__()
        if self.target_density and (not self.levels or hasattr(self.method, "final_density")):
            raise UsageError(
                "Expected target_density with levels to reach it by; methods that know "
                "final_density take that. "
                f"Received: target_density={self.target_density:g}, levels={self.levels}, "
                f"method={METHODS.name_of(type(self.method))}."
            )
        if self.granularity != "weight" and not self.method.takes_granularity:
            raise UsageError(
                f"Expected granularity=weight: {self.method.label()} chooses single weights. "
                f"Received: granularity={self.granularity}. Use the method imp, oneshot, at_init "
                "or one that continues from them."
            )
        self.method.check(self)

    @property
    def iterations(self) -> int | None:
        """Iterations of a level, None where they are not known before it."""
        return None

    def known_iterations(self) -> int:
        """Returns the iterations of a level.

        Raises:
            UsageError: if they are not known, as in a fit that has not begun.
        """
        if self.iterations is None:
            raise UsageError(
                "Expected a known number of iterations a level. Received: iterations=None."
            )
        return self.iterations

    def as_dict(self, in_run_name: bool = False) -> dict[str, Any]:
        """Returns field name -> value; the run's name has the levels if rates follow from them."""
        found = super().as_dict(in_run_name)
        return {**found, "levels": self.levels} if self.target_density else found


@dataclasses.dataclass(frozen=True)
class ExperimentConfig(ProcedureConfig):
    """Everything that decides the results of an experiment.

    The defaults are LeNet-300-100 on MNIST as in Frankle & Carbin 2019,
    arXiv:1803.03635, Figure 2; `experiments/` holds the other networks' values. Options of the
    method and numbers of controls are no fields of the constructor: `replace` takes them.

    Example:
    >>> config = ExperimentConfig(iterations=2000).replace(reinits=3, rewind_iteration=500)
    >>> config.controls[0].reinits, config.method.rewind_iteration
    (3, 500)
    """

    kind: ClassVar[str] = "experiment"

    network: str = option(
        "lenet",
        "Network to train, by its name in lth_tf/networks; in Python also a function "
        "(input_shape, classes) -> model that returns logits.",
    )
    dataset: str = option(
        "mnist",
        "What to learn: digits, manual (text), breast_cancer, wine (tables; none needs a "
        "download), folder (images below data_dir, a folder a class), or any TFDS image "
        "classification set.",
    )
    validation_size: int | None = option(
        None,
        "Training examples set aside for validation. Default: 5000; for digits 200.",
        minimum=1,
    )

    iterations: int = option(50_000, "Training iterations of a level.", minimum=1)
    batch_size: int = option(60, "Batch size.", minimum=1)
    optimizer: str = option("adam", "Optimizer.", choices=("adam", "sgd", "momentum"))
    learning_rate: float = option(1.2e-3, "Learning rate.", minimum=0.0)
    momentum: float = option(
        0.9, "Momentum; only for the optimizer momentum.", minimum=0.0, below=1.0
    )

    weight_decay: float = option(
        0.0, "L2 penalty: this times a kernel's weights is added to its gradient.", minimum=0.0
    )
    lr_drops: tuple[int, ...] = option(
        (), "Iterations, comma-separated, at which the learning rate is divided by 10."
    )
    warmup_iterations: int = option(
        0, "Iterations of linear learning-rate warm-up from 0.", minimum=0
    )
    dropout_rate: float = option(
        0.0, "Dropout before each fully-connected layer.", minimum=0.0, below=1.0
    )
    augment: bool = option(False, "Flip at random, pad by 4 pixels and crop at random.")

    precision: str = option(
        "float32",
        "Type that the network computes in, beside float32 weights, masks and optimizer.",
        choices=("float32", "mixed_bfloat16", "mixed_float16"),
    )
    batch_norm: str = option(
        "exact",
        "How batch normalization of images is computed in training: exact, or fused, which is "
        "faster and whose gradients have about six times the rounding errors.",
        choices=("exact", "fused"),
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
    eval_interval: int = option(
        100, "Iterations between evaluations of the validation loss.", minimum=1
    )
    test_interval: int = option(
        0,
        "Iterations between points of the test accuracy curve, a multiple of eval_interval; "
        "0 tests only at the early-stop iteration and the end.",
        minimum=0,
    )
    replicates: int = option(1, "Seeds to run.", minimum=1, in_run_name=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "network", NETWORKS.name_of(self.network))
        super().__post_init__()
        if self.test_interval % self.eval_interval:
            raise UsageError(
                "Expected test_interval to be a multiple of "
                f"eval_interval={self.eval_interval}. "
                f"Received: test_interval={self.test_interval}."
            )
        if any(b <= a for a, b in itertools.pairwise((0, *self.lr_drops))):
            raise UsageError(
                "Expected lr_drops to be iterations that increase, from 1 on. "
                f"Received: lr_drops={','.join(map(str, self.lr_drops))}."
            )
        plain = type(self).__dataclass_fields__["momentum"].default
        if self.optimizer != "momentum" and self.momentum != plain:
            raise UsageError(
                f"Expected optimizer=momentum with a momentum of its own. Received: "
                f"momentum={self.momentum:g}, optimizer={self.optimizer}.",
                arguments=("optimizer",),
            )
        if self.seed + self.replicates - 1 > LARGEST:
            raise UsageError(
                f"Expected seeds up to {LARGEST}. Received: seed={self.seed}, "
                f"replicates={self.replicates}."
            )

    def prune_rates(self) -> dict[str, float]:
        """Returns group -> fraction of the remaining weights pruned a level."""
        return {
            "conv": self.prune_rate_conv,
            "fc": self.prune_rate_fc,
            "output": self.prune_rate_output,
        }


@dataclasses.dataclass(frozen=True)
class FitConfig(ProcedureConfig):
    """Everything about tickets that `TicketCallback` finds in `model.fit`.

    The model, its data and its optimizer are the user's own and no part of it.
    """

    kind: ClassVar[str] = "fit"

    # Keras counts up the names of models that are built anew.
    network: str = option("", "Name of the model.", in_run_name=False)
    dataset: str = option("data of its own", "What it is trained on.")
    epochs_per_level: int = option(1, "Epochs of a level.", minimum=1)
    iterations: int | None = option(
        None, "Batches of a level, as far as known before it.", minimum=1, in_run_name=False
    )
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

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.method.origin_iteration(self) != 0:
            raise UsageError(
                "Expected rewind_epoch: in fit a level starts from the weights after an epoch. "
                "Received: a method with an iteration to rewind to."
            )


def from_record(kind: str, values: dict[str, Any]) -> ExperimentConfig | FitConfig:
    """Returns the config that a run directory's config.json holds.

    Raises:
        UsageError: if the kind or a field is unknown, or a value out of bounds.
    """
    kinds = {config.kind: config for config in (ExperimentConfig, FitConfig)}
    if "criterion" not in values:
        kind, values = _from_format_1(kind, values)
    if kind not in kinds:
        raise UsageError(
            f"Expected a run of the kind {', '.join(kinds)}. Received: {kind!r}. "
            "The file was written by another version of lth_tf."
        )
    return kinds[kind].from_json(values)


def _from_format_1(kind: str, values: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Returns kind and values of a config written before methods were objects."""
    values = dict(values)
    values["criterion"] = values.pop("method", "magnitude")
    if "trials" in values:
        values["replicates"] = values.pop("trials")
    if kind == "gradual":
        for name in ("strategy", "start", "rewind_iteration"):
            values.pop(name, None)
        return "experiment", {**values, "method": "gradual"}
    return kind, values


@dataclasses.dataclass(frozen=True)
class RunOptions(Options):
    """How and where an experiment is run.

    Nothing of it enters the run's name. `jit`, `step`, `devices`, `deterministic`, and, through
    the number of threads, `jobs` change results by rounding; all are kept in config.json.
    """

    runs_dir: str = option("runs", "Folder that all run directories lie in.")
    data_dir: str = option(
        "",
        "TFDS folder, or that of --dataset=folder. Default: TFDS_DATA_DIR or "
        "~/tensorflow_datasets.",
    )
    input: str = option(
        "memory",
        "Where examples are: decoded in memory, or read and decoded beside the training, for "
        "data larger than memory.",
        choices=("memory", "stream"),
    )
    jobs: int = option(
        1, "Trials run side by side, each in a process with its share of the cores.", minimum=1
    )
    jit: str = option(
        "auto",
        "Compile with XLA. auto: on for accelerators; on a CPU if there is no convolution.",
        choices=("auto", "on", "off"),
    )
    step: str = option(
        "auto",
        "How networks of dense layers are trained: on all weights, or on the remaining ones "
        "alone. auto: the faster one, timed at each level, so that runs may differ by rounding.",
        choices=("auto", "dense", "sparse"),
    )
    devices: str = option(
        "one",
        "What a training is spread over: one device, all of this machine (mirrored), or all "
        "machines that TF_CONFIG names (multi_worker), each of which runs the same command with "
        "one shared runs_dir.",
        choices=("one", "mirrored", "multi_worker"),
    )
    deterministic: bool = option(
        True,
        "Same bits for the same seed on accelerators too; a CPU always gives them. "
        "False gives that up for speed.",
    )
    checkpoint_seconds: float = option(
        60.0, "Seconds between checkpoints inside a level.", minimum=0.0
    )
    overwrite: bool = option(False, "Delete earlier results of the same run first.")
    dry_run: bool = option(False, "Print the plan and train nothing; loads the data set.")
    tensorboard: bool = option(False, "Also write TensorBoard event files into the run directory.")

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.runs_dir:
            raise UsageError("Expected runs_dir to be a folder. Received: runs_dir=''.")


def run_name(config: Options, defaults: Options) -> str:
    """Returns the folder name of a run: the changed fields, sorted, or "default".

    The seed is a folder of its own. Of methods only the options of the chosen one enter.

    Example:
    >>> base = ExperimentConfig()
    >>> run_name(dataclasses.replace(base, prune_rate_fc=0.3, iterations=500), base)
    'iterations=500,prune_rate_fc=0.3'
    """
    plain = {**config.part_defaults(), **defaults.as_dict()}
    return (
        ",".join(
            f"{name}={_text(value)}"
            for name, value in sorted(config.as_dict(in_run_name=True).items())
            if name != "seed" and value != plain[name]
        )
        or "default"
    )


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return "+".join(map(str, value)) or "none"
    return str(value).replace("/", "_")
