"""The flags of `python -m export` and `python -m export.prune`."""

import dataclasses
from typing import Any

from lth_tf.config import GRANULARITIES, METHODS, SCOPES
from lth_tf.errors import UsageError
from lth_tf.options import Options, option

from .formats import FORMATS
from .formats.base import CHOICES, DTYPES


@dataclasses.dataclass(frozen=True)
class ExportOptions(Options):
    """What to export, as what, to where."""

    run: str = option("", "Run directory of an experiment: takes a winning ticket out of it.")
    model: str = option("", "A masked or pruned .keras file, in place of --run.")
    level: int | None = option(
        None, "Level of the run. Default: that of the smallest winning ticket.", minimum=0
    )
    tolerance: float | None = option(
        None,
        "Points of test accuracy (percent) a winning ticket may be below the dense network. "
        "Default: the sampling error of the test data; 0 is the paper's definition.",
        minimum=0.0,
        maximum=100.0,
    )
    weights: str = option(
        "trained",
        "The ticket's weights after training, or those it starts from.",
        choices=("trained", "origin"),
    )
    format: str = option(
        "tflite,saved_model", "Any of tflite, saved_model, keras, onnx, comma-separated."
    )
    dtype: str = option(
        "float32",
        "What weights are stored as. int8 in .tflite files computes with int8 too.",
        choices=DTYPES,
    )
    compact: bool = option(True, "Remove units that cannot matter; changes rounding only.")
    cluster: int = option(
        0, "Fine-tune until each kernel has at most this many values; 0 does not.", minimum=0
    )
    qat: bool = option(False, "Fine-tune for int8 (quantization-aware training).")
    finetune_epochs: int = option(2, "Epochs for --cluster and for --qat.", minimum=1)
    finetune_learning_rate: float = option(
        1e-4, "Learning rate of Adam for --cluster and --qat.", minimum=0.0
    )
    examples: str = option(
        "",
        "With --model or a run of model.fit: .npy or .npz file of inputs as the model takes "
        "them, to verify with and to choose int8 ranges by. An .npz has x, or one array an input "
        "by its name, and, for --cluster, --qat and accuracy, y.",
    )
    data_dir: str = option("", "TFDS folder. Default: TFDS_DATA_DIR or ~/tensorflow_datasets.")
    output_dir: str = option(
        "", "Folder to write to. Default: export/ in the run directory or beside the .keras file."
    )
    batch_size: int = option(
        0,
        "Examples a call: what latencies are measured with, and the only size a .tflite file of "
        "a model with loops takes. 0: one, and any other size where that is possible.",
        minimum=0,
    )
    optimize: str = option(
        "latency",
        "What decides how a .tflite file stores a kernel where the two are at odds.",
        choices=CHOICES["optimize"],
    )
    runtime: str = option(
        "any",
        "What must be able to run .tflite files: litert need not be refused by TFLite Micro, "
        "micro has dense kernels only.",
        choices=CHOICES["runtime"],
    )
    agreement: float | None = option(
        None,
        "Least fraction of the model's decisions that a file must share. Default: 0.99 for "
        "float32, 0.97 for float16, 0.9 for int8.",
        minimum=0.0,
        maximum=1.0,
    )
    json: bool = option(False, "Print one JSON object in place of tables, and nothing else.")
    latency_seconds: float = option(
        3.0, "Seconds to measure the latency of a file; 0 does not.", minimum=0.0
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        known = FORMATS.names()
        if not self.formats or set(self.formats) - set(known):
            raise UsageError(
                f"Expected format to be {', '.join(known)}, comma-separated. "
                f"Received: format={self.format!r}."
            )
        if self.cluster == 1:
            raise UsageError("Expected cluster to be 0 or at least 2. Received: cluster=1.")
        if self.run and self.model:
            raise UsageError(
                f"Expected --run or --model. Received: both, {self.run!r} and {self.model!r}."
            )

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats asked for, each once."""
        return tuple(dict.fromkeys(filter(None, self.format.split(","))))


@dataclasses.dataclass(frozen=True)
class PruneOptions(Options):
    """How a model of the user's own is pruned."""

    examples: str = option("", "The .npz file with inputs and labels.", in_run_name=False)
    density: float = option(
        0.1, "Fraction of the prunable weights kept, in (0, 1]; 1 only trains on."
    )
    method: Any = option(
        "gradual", "How it is pruned, by its name in lth_tf/methods.", part_of=METHODS
    )
    export: str = option(
        "", "Formats to write, comma-separated: tflite, saved_model.", in_run_name=False
    )
    epochs: int = option(5, "Epochs of a training.", minimum=1)
    levels: int = option(
        0,
        "Trainings after the dense one; only of methods that prune between them. 0: as many as "
        "prune 20 % each.",
        minimum=0,
        maximum=100,
    )
    batch_size: int = option(32, "Batch size.", minimum=1)
    validation_split: float = option(0.2, "Fraction of the examples held out, in (0, 1).")
    criterion: str = option("magnitude", "Which weights stay, by its name in lth_tf/pruning.")
    scope: str = option("layerwise", "How many weights each layer keeps: layerwise, global, ...")
    granularity: str = option(
        "weight",
        "What is pruned as one: weight; channel, which is removed from the files; 1x4, 1x16, 2:4.",
    )
    metric: str = option("", "Compiled metric to judge by. Default: the accuracy, or the first.")
    mode: str = option(
        "auto", "Which values of the metric are better.", choices=("auto", "min", "max")
    )
    seed: int = option(0, "Seed of the part held out and of the order.", minimum=0)
    runs_dir: str = option("runs", "Folder that run directories lie in.", in_run_name=False)
    overwrite: bool = option(
        False, "Delete an earlier run of these flags first.", in_run_name=False
    )

    def __post_init__(self) -> None:
        super().__post_init__()
        if not 0 < self.density <= 1:
            raise UsageError(
                f"Expected density to be a number in (0, 1]. Received: density={self.density!r}."
            )
        if not 0 < self.validation_split < 1:
            raise UsageError(
                "Expected validation_split to be a number in (0, 1). "
                f"Received: validation_split={self.validation_split!r}."
            )
        if not self.runs_dir:
            raise UsageError("Expected runs_dir to be a folder. Received: runs_dir=''.")
        SCOPES.get(self.scope)
        GRANULARITIES.get(self.granularity)
        for name in self.formats:
            FORMATS.get(name)
        if self.formats and self.density == 1:
            raise UsageError(
                "Expected a density below 1 with --export, which is for pruned models. "
                "Received: density=1.0."
            )
        self._check_method()

    def _check_method(self) -> None:
        default = getattr(type(self.method), "final_density", None)
        if default is None:
            return
        if self.method.final_density != default:
            raise UsageError(
                "Expected --density in place of --final_density. Received: --final_density="
                f"{','.join(map(str, self.method.final_density))}."
            )
        if self.levels:
            raise UsageError(
                "Expected levels=0: this method prunes in one training. "
                f"Received: levels={self.levels}."
            )

    @property
    def formats(self) -> tuple[str, ...]:
        """The formats asked for, each once."""
        return tuple(dict.fromkeys(name.strip() for name in self.export.split(",") if name.strip()))
