"""What studies share: trainings of several configs, and what they come to as table, CSV and PNG."""

import dataclasses
import pathlib
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Generic, NoReturn, TypeVar

from lth_tf.cli import flags, program, tf_logging
from lth_tf.cli.table import Column, table
from lth_tf.config import ExperimentConfig, RunOptions, run_name
from lth_tf.errors import UsageError
from lth_tf.files import atomic_path
from lth_tf.lazy import lazy_imports, require
from lth_tf.options import Options, option
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

from .. import cli
from ..results import percent, write_csv

with lazy_imports():
    from lth_tf import tensorflow_internals
    from lth_tf.masking import model as masking
    from lth_tf.tickets import find, procedure

    from ..figures import picture

if TYPE_CHECKING:
    from lth_tf.datasets import Data

    from ..figures import Figure

Row = dict[str, Any]


@dataclasses.dataclass(frozen=True)
class StudyOptions(Options):
    """How much data a study takes, and where its table and figure go."""

    examples: int = option(
        0, "Training examples, with a fifth as many for validation and test; 0 is all.", minimum=0
    )
    out: str = option("", "Folder for CSV and PNG. Default: the folder studies in runs_dir.")


Own = TypeVar("Own", bound=StudyOptions)


@dataclasses.dataclass(frozen=True)
class Findings:
    """What a study came to.

    Attributes:
        rows: all of its numbers, for the CSV file; accuracies in percent.
        columns: title -> name of the field; what the printed table shows of `table`.
        table: the rows that are printed, e.g. of `means`.
        figure: draws them.
    """

    rows: list[Row]
    columns: dict[str, str]
    table: list[Row]
    figure: "Figure"


class Lab(Generic[Own]):
    """Trains what a study asks for; what is there already is not trained again.

    Runs lie in `<runs_dir>/studies/<network>_<dataset>/`, so that studies share them.

    Args:
        config: the study's own, as the command line changed it.
        options: where and how to run.
        own: options of the study.
    """

    def __init__(self, config: ExperimentConfig, options: RunOptions, own: Own):
        self.config = config
        self.options = options
        self.own = own
        self._loaded: dict[tuple, Data] = {}

    def data(self, config: ExperimentConfig) -> "Data":
        """Returns a config's data set, loaded once."""
        key = (config.dataset, config.network, config.seed, config.validation_size)
        if key not in self._loaded:
            self._loaded = {key: self._fewer(cli.load_data(config, self.options))}
        return self._loaded[key]

    def _fewer(self, data: "Data") -> "Data":
        """Returns the first examples of each part, as many as are asked for."""
        if not self.own.examples:
            return data
        sizes = {"train": self.own.examples}
        sizes |= dict.fromkeys(("validation", "test"), max(1, self.own.examples // 5))
        parts = {name: getattr(data, name) for name in sizes}
        return dataclasses.replace(
            data,
            **{name: part.take(range(min(len(part), sizes[name]))) for name, part in parts.items()},
        )

    def train(self, config: ExperimentConfig, name: str = "") -> list[RunDir]:
        """Returns the finished runs of a config, one a replicate of the study.

        Args:
            config: what to train; its seed and replicates are those of the study.
            name: folder of the runs; "" makes one of what the config changes.
        """
        return [self.train_one(config, seed, name) for seed in self.seeds]

    @property
    def seeds(self) -> range:
        """The seeds of the study."""
        return range(self.config.seed, self.config.seed + self.config.replicates)

    def train_one(self, config: ExperimentConfig, seed: int, name: str = "") -> RunDir:
        """Returns the finished run of a config with one seed."""
        config = config.replace(seed=seed, replicates=1)
        run_dir = self.run_dir(config, name)
        data = self.data(config)
        begun = time.monotonic()
        about = cli.about_run(data, self.options) | config.method.provenance()
        with run_dir.writing(config, about), tensorflow_internals.released_functions():
            find.find_tickets(
                config,
                data,
                run_dir,
                jit=self.options.jit,
                step=self.options.step,
                checkpoint_seconds=self.options.checkpoint_seconds,
            )
        reached = ", ".join(
            f"{percent(summary['density']):g} %: {100 * summary['early_stop_test_accuracy']:.2f}"
            for stage in run_dir.finished()
            if not stage.control
            for summary in [run_dir.summary(stage)]
        )
        seconds = time.monotonic() - begun
        print(f"{run_dir.path.parent.name}, seed {config.seed} ({seconds:.0f} s)", flush=True)
        print(f"    {reached}", flush=True)
        return run_dir

    def run_dir(self, config: ExperimentConfig, name: str = "") -> RunDir:
        """Returns where the run of a config lies.

        Args:
            config: with the seed of the run.
            name: of the folder of all seeds; "" makes one of what the config changes.
        """
        network = config.network.rpartition(".")[2]
        plain = ExperimentConfig(network=config.network, dataset=config.dataset)
        folder = pathlib.Path(self.options.runs_dir, "studies", f"{network}_{config.dataset}")
        return RunDir(folder / (name or run_name(config, plain)) / f"seed_{config.seed}")

    def subject(self) -> str:
        """Returns what is trained, a line for pictures."""
        config, seeds = self.config, len(self.seeds)
        name = config.network.rpartition(".")[2]
        return (
            f"{name} on {config.dataset}, {config.iterations:,} iterations, "
            f"{seeds} seed{'s' if seeds > 1 else ''}"
        )

    def densities(self, config: ExperimentConfig, levels: Sequence[int]) -> tuple[float, ...]:
        """Returns the fraction of the weights that some levels of a config keep."""
        model = find.new_model(config, self.data(config), "init")
        rates = find.network_rates(config, model)
        units = find.units_of(config, model)
        plan = procedure.plan(config, masking.get_masks(model), rates, units)
        return tuple(round(plan[level] / plan[0], 6) for level in levels)


def row(run_dir: RunDir, stage: Stage, **names: Any) -> Row:
    """Returns the numbers of a stage, accuracies in percent.

    Args:
        run_dir: the run.
        stage: which of its trainings.
        **names: what the row is called by, e.g. variant="SNIP".
    """
    summary = run_dir.summary(stage)
    return {
        **names,
        "seed": run_dir.config().seed,
        "level": stage.level,
        "control": stage.control,
        "remaining": percent(summary["density"]),
        "early_stop_iteration": summary["early_stop_iteration"],
        "early_stop_accuracy": round(100 * summary["early_stop_test_accuracy"], 2),
        "final_accuracy": round(100 * summary["final_test_accuracy"], 2),
        "iterations": summary["iterations"],
        "seconds": summary["seconds"],
    }


def means(rows: Sequence[Row], by: Sequence[str], field: str = "early_stop_accuracy") -> list[Row]:
    """Returns mean, smallest and largest of a field, and how many it is of, for each group.

    Example:
    >>> means([{"a": 1, "x": 2.0}, {"a": 1, "x": 4.0}], ["a"], "x")
    [{'a': 1, 'mean': 3.0, 'low': 2.0, 'high': 4.0, 'trainings': 2}]
    """
    groups: dict[tuple, list[float]] = {}
    for each in rows:
        groups.setdefault(tuple(each[name] for name in by), []).append(each[field])
    return [
        {
            **dict(zip(by, key, strict=True)),
            "mean": round(statistics.fmean(values), 4),
            "low": min(values),
            "high": max(values),
            "trainings": len(values),
        }
        for key, values in groups.items()
    ]


def main(
    name: str,
    defaults: ExperimentConfig,
    doc: str,
    work: Callable[[Lab], Findings],
    own: StudyOptions | None = None,
) -> NoReturn:
    """Runs a study as a program and exits.

    Args:
        name: of its files.
        defaults: the config it starts from, at a reduced size.
        doc: what `--help` says of it.
        work: trains and returns what was found.
        own: options of the study.
    """
    sys.exit(program.run_main(lambda: _run(name, defaults, doc, work, own or StudyOptions())))


def _run(
    name: str,
    defaults: ExperimentConfig,
    doc: str,
    work: Callable[[Lab], Findings],
    own: StudyOptions,
) -> None:
    parsed = flags.parse(sys.argv, doc, defaults, RunOptions(), own)
    if parsed is None:
        return
    config, options, own = parsed
    for unused in ("overwrite", "dry_run", "tensorboard"):
        if getattr(options, unused):
            raise UsageError(f"Expected a flag of studies. Received: --{unused}.")
    require("altair", "vl_convert")
    tf_logging.import_tensorflow()
    found = work(Lab(config, options, own))
    folder = pathlib.Path(own.out or pathlib.Path(options.runs_dir, "studies"))
    write_csv(folder / f"{name}.csv", found.rows)
    with atomic_path(folder / f"{name}.png") as partial:
        partial.write_bytes(picture.png(found.figure))
    columns = [
        Column(title, left=isinstance(_first(found.table, key), str))
        for title, key in found.columns.items()
    ]
    cells = [[_text(each.get(key)) for key in found.columns.values()] for each in found.table]
    print(f"\n{table(columns, cells)}\n\nNumbers and figure: {folder}/{name}.csv, .png")


def _first(rows: Sequence[Row], key: str) -> Any:
    return next((each[key] for each in rows if each.get(key) is not None), None)


def _text(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.2f}"
    return "" if value is None else str(value)
