"""What every experiment program does: flags, header, replicates, errors."""

import contextlib
import dataclasses
import importlib
import pathlib
import sys
from typing import TYPE_CHECKING, Any, NoReturn

from lth_tf.cli import flags, program, tf_logging
from lth_tf.config import CRITERIA, ExperimentConfig, RunOptions, run_name
from lth_tf.lazy import lazy_imports
from lth_tf.runs.provenance import data_record, provenance
from lth_tf.runs.run_dir import RunDir

from .side_by_side import is_one_of_several, run_side_by_side

with lazy_imports():
    from lth_tf import datasets, networks
    from lth_tf.masking import model as masking
    from lth_tf.tickets import find, procedure
    from lth_tf.training import devices

    from . import display, results, tensorboard

if TYPE_CHECKING:
    from lth_tf.datasets import Data


def main(
    name: str,
    defaults: ExperimentConfig,
    doc: str,
    presets: dict[str, dict[str, Any]] | None = None,
    options: RunOptions | None = None,
) -> NoReturn:
    """Runs an experiment as a program and exits.

    Args:
        name: the experiment's folder under `--runs_dir`.
        defaults: the experiment's own values.
        doc: what `--help` says of it.
        presets: what `--preset` offers: name -> values in place of the defaults.
        options: how it is run unless flags say otherwise.
    """
    experiment = Experiment(defaults, doc, presets or {}, name, options=options or RunOptions())
    sys.exit(program.run_main(lambda: run(experiment)))


@dataclasses.dataclass(frozen=True)
class Experiment:
    """What a program runs.

    Attributes:
        defaults: its own values.
        doc: what `--help` says of it.
        presets: what `--preset` offers: name -> values in place of the defaults.
        folder: where its runs lie below `--runs_dir`.
        learner: name of the module that trains its stages, with a function `learner`;
            "" for the `Trainer` alone.
        options: how it is run unless flags say otherwise.
    """

    defaults: ExperimentConfig
    doc: str
    presets: dict[str, dict[str, Any]]
    folder: str
    learner: str = ""
    options: RunOptions = RunOptions()

    def path(self, config: ExperimentConfig, options: RunOptions) -> pathlib.Path:
        """Returns the directory of one replicate, whose seed is the config's."""
        folder = pathlib.Path(options.runs_dir) / self.folder / run_name(config, self.defaults)
        return folder / f"seed_{config.seed}"

    def check(self, config: ExperimentConfig) -> None:
        """Refuses what the program cannot run, before data are loaded.

        Raises:
            UsageError: if the config does not fit.
        """

    def next_steps(self, run_dir: RunDir) -> str:
        """Returns what a run came to, and the commands to go on with."""
        figures = f"{program.command('report')} {run_dir.path}"
        return f"{results.outcome(run_dir)}\nFigures:   {figures}"


def run(experiment: Experiment) -> list[pathlib.Path]:
    """Runs what the command line asks for; returns the run directories, none if nothing ran.

    Raises:
        UsageError: if the command line or a run directory does not fit.
        RunError: if a replicate fails.
    """
    parsed = flags.parse(
        sys.argv,
        experiment.doc,
        experiment.defaults,
        experiment.options,
        presets=experiment.presets,
    )
    if parsed is None:
        return []
    config, options = parsed
    CRITERIA.get(config.criterion)
    experiment.check(config)
    replicates = replicates_of(config)
    paths = [experiment.path(replicate, options) for replicate in replicates]
    if options.dry_run:
        _print_plan(replicates, paths, options)
        return []
    if len(replicates) > 1 and options.jobs > 1:
        run_side_by_side(replicates, paths, options)
    else:
        for replicate, path in zip(replicates, paths, strict=True):
            alone = len(replicates) == 1 and not is_one_of_several()
            _run_replicate(experiment, replicate, path, options, alone)
    if len(replicates) > 1:
        print(f"\nFigures of all replicates: {program.command('report')} {paths[0].parent}")
    return paths


def replicates_of(config: ExperimentConfig) -> list[ExperimentConfig]:
    """Returns the config of each seed."""
    seeds = range(config.seed, config.seed + config.replicates)
    return [dataclasses.replace(config, seed=seed, replicates=1) for seed in seeds]


def _run_replicate(
    experiment: Experiment,
    config: ExperimentConfig,
    path: pathlib.Path,
    options: RunOptions,
    alone: bool,
) -> None:
    """Runs one seed; says what it came to, and what to do next if it is the only one."""
    tf_logging.import_tensorflow()
    data = load_data(config, options)
    run_dir = devices.run_dir_of(path, options.devices)
    # Complains before anything is written or deleted.
    config = config.replace(levels=last_level(config, data))
    if options.overwrite:
        run_dir.delete()
    about = about_run(data, options) | config.method.provenance()
    make_learner = find.trainer_learner
    if experiment.learner:
        make_learner = importlib.import_module(experiment.learner).learner
    with run_dir.writing(config, about):
        view = display.Display(config, header(config, data, about["device"], run_dir))
        with contextlib.closing(view):
            find.find_tickets(
                config,
                data,
                run_dir,
                jit=options.jit,
                step=options.step,
                deterministic=options.deterministic,
                devices=options.devices,
                checkpoint_seconds=options.checkpoint_seconds,
                listeners=[view, *event_writers(run_dir, options)],
                make_learner=make_learner,
            )
        if not view.trained:
            print("\nAll of it was done before: nothing was trained.")
    told = experiment.next_steps(run_dir) if alone else results.outcome(run_dir).splitlines()[0]
    print(f"\n{told}")


def load_data(config: ExperimentConfig, options: RunOptions) -> "Data":
    """Returns the config's data set in the shape of its network's inputs."""
    # Before the first tensor.
    devices.configure(options.deterministic)
    devices.strategy(options.devices)
    return datasets.load(
        config.dataset,
        image_shape=networks.image_shape(config.network),
        validation_size=config.validation_size,
        seed=config.seed,
        data_dir=options.data_dir,
        cache_dir=pathlib.Path(options.runs_dir) / ".cache",
        stream=options.input == "stream",
    )


def event_writers(run_dir: RunDir, options: RunOptions) -> list:
    """Returns the listeners that `--tensorboard` asks for, and says how to look at the events."""
    if not options.tensorboard:
        return []
    folder = run_dir.path / "tensorboard"
    print(tensorboard.how_to_look(folder))
    return [tensorboard.EventWriter(folder)]


def _print_plan(
    replicates: list[ExperimentConfig], paths: list[pathlib.Path], options: RunOptions
) -> None:
    """Prints what the replicates would do and how much they would write."""
    tf_logging.import_tensorflow()
    config = replicates[0]
    data = load_data(config, options)
    config = config.replace(levels=last_level(config, data))
    model = find.new_model(config, data, "init")
    sizes = procedure.plan(config, masking.get_masks(model), find.network_rates(config, model))
    for level, left in enumerate(sizes):
        print(f"level {level:>3}{100 * left / sizes[0]:9.2f} % remaining{left:13,} weights")
    trainings = len(procedure.stages(config))
    weights = sum(value.nbytes for value in masking.get_weights(model).values())
    written = trainings * (weights + sizes[0] // 8) + weights
    count = len(replicates)
    if details := config.method.details(config):
        print(f"\n{details}", end="")
    print(
        f"\n{count} replicate{'s' if count > 1 else ''} of {trainings} trainings of "
        f"{config.iterations:,} iterations: {count * trainings * config.iterations:,} in all; "
        f"{count * written / 1e6:,.0f} MB on disk.\n"
        f"Results would be in {paths[0]}. Nothing was trained."
    )


def last_level(config: ExperimentConfig, data: "Data") -> int:
    """Returns the last level that is trained, and prints which others are not.

    Raises:
        UsageError: if pruning would empty a layer.
    """
    find.check_data(config, data)
    model = find.new_model(config, data, "init")
    rates = find.network_rates(config, model)
    return procedure.without_idle_levels(config, masking.get_masks(model), rates, print).levels


def header(config: ExperimentConfig, data: "Data", device: str, run_dir: RunDir) -> str:
    """Returns what is printed of data, training and device above the table."""
    details = config.method.details(config)
    return (
        f"{len(data.train):,} training, {len(data.validation):,} validation and "
        f"{len(data.test):,} test examples\n"
        f"Levels 0 to {config.method.levels(config)} of {config.iterations:,} iterations, "
        f"batch {config.batch_size}, {config.optimizer} {config.learning_rate:g}, "
        f"seed {config.seed}, on {device}\n"
        f"{details and details}{chr(10) * bool(details)}"
        f"Results in {run_dir.path}"
    )


def about_run(data: "Data", options: RunOptions) -> dict[str, Any]:
    """Returns what config.json says beside the config: what the trial runs on."""
    return provenance(
        data=data_record(data, options.data_dir),
        jit=options.jit,
        step=options.step,
        deterministic=options.deterministic,
        devices=options.devices,
    )
