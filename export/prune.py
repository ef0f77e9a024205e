"""Prunes a compiled model of your own while it trains on, and exports it.

    python -m export.prune model.keras --examples=train.npz --density=0.1
    python -m export.prune model.keras --examples=train.npz --export=tflite,saved_model
    python -m export.prune model.keras --examples=train.npz --method=imp --levels=8

model.keras is any compiled model that Keras loads; it goes on training with its own loss and
metrics, and its optimizer begun anew. The .npz file holds the inputs as x, or one array an
input by its name; the labels as y, or one array an output by its name; and, if there are any,
sample_weight. A part of the examples, drawn by the seed, is held out: early stop and all numbers
are of that part.

Level 0 trains on with nothing pruned, to compare with, and is followed by one training of gradual
pruning, or by the levels of another method. The run directory, runs/<model>/..., holds all of
them for `experiments.list` and `experiments.report`; pruned.keras, a plain model that Keras
loads without lth_tf; and with --export the files in export/, each verified in its runtime.

A run that is stopped goes on with the same command, at the last epoch that was kept. It is
refused with other examples or another model.
"""

import dataclasses
import sys
from typing import Any

from lth_tf.cli import flags, program, tf_logging
from lth_tf.config import METHODS, SCOPES
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option

from .formats import FORMATS

with lazy_imports():
    from . import own_model


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
    metric: str = option("", "Compiled metric to judge by. Default: the accuracy, or the first.")
    mode: str = option(
        "auto", "Which values of the metric are better.", choices=("auto", "min", "max")
    )
    seed: int = option(0, "Seed of the part held out and of the order.", minimum=0)
    runs_dir: str = option("runs", "Folder that run directories lie in.", in_run_name=False)
    overwrite: bool = option(
        False, "Delete an earlier run of these flags first.", in_run_name=False
    )

    def __post_init__(self):
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


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    parsed = flags.parse(sys.argv, __doc__, PruneOptions(), positional="MODEL")
    if parsed is None:
        return
    options, models = parsed
    if len(models) != 1:
        raise UsageError(
            f"Expected one .keras file. Received: {', '.join(models) or 'none'}. "
            f"E.g. {program.command('prune')} model.keras --examples=train.npz --density=0.1"
        )
    if not options.examples:
        raise UsageError("Expected --examples=FILE.npz with inputs x and labels y. Received: none.")
    tf_logging.import_tensorflow()
    own_model.run(models[0], options)


if __name__ == "__main__":
    main()
