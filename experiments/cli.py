"""What every experiment program does: flags, header, trials, errors."""

import contextlib
import dataclasses
import os
import pathlib
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, NoReturn

from lth_tf.cli import flags, program, tf_logging
from lth_tf.config import ExperimentConfig, RunOptions, run_name
from lth_tf.errors import RunError
from lth_tf.runs.provenance import data_record, provenance
from lth_tf.runs.run_dir import RunDir

if TYPE_CHECKING:
    from lth_tf.datasets import Data


def main(
    name: str,
    defaults: ExperimentConfig,
    doc: str,
    presets: dict[str, dict[str, Any]] | None = None,
) -> NoReturn:
    """Runs an experiment as a program and exits.

    Args:
        name: the experiment's folder under `--runs_dir`.
        defaults: the experiment's own values.
        doc: what `--help` says of it.
        presets: what `--preset` offers: name -> values in place of the defaults.
    """
    sys.exit(program.guarded(lambda: _run(name, defaults, doc, presets)))


def run_path(
    name: str, config: ExperimentConfig, defaults: ExperimentConfig, options: RunOptions
) -> pathlib.Path:
    """Returns the directory of one trial, whose seed is the config's."""
    folder = pathlib.Path(options.runs_dir) / name / run_name(config, defaults)
    return folder / f"seed_{config.seed}"


def _run(
    name: str,
    defaults: ExperimentConfig,
    doc: str,
    presets: dict[str, dict[str, Any]] | None,
) -> None:
    parsed = flags.parse(sys.argv, doc, defaults, RunOptions(), presets=presets)
    if parsed is None:
        return
    config, options = parsed
    seeds = range(config.seed, config.seed + config.trials)
    trials = [dataclasses.replace(config, seed=seed, trials=1) for seed in seeds]
    paths = [run_path(name, trial, defaults, options) for trial in trials]
    if options.dry_run:
        _print_plan(trials, paths, options)
        return
    if len(trials) > 1 and options.jobs > 1:
        run_side_by_side(trials, paths, options)
    else:
        for trial, path in zip(trials, paths, strict=True):
            _run_trial(trial, RunDir(path), options)
    if len(trials) > 1:
        print(
            f"\nFigures of all trials: {program.python()} -m experiments.report {paths[0].parent}"
        )


def _run_trial(config: ExperimentConfig, run_dir: RunDir, options: RunOptions) -> None:
    tf_logging.import_tensorflow()
    from experiments import display
    from experiments.results import outcome
    from lth_tf.tickets import find as lottery

    data = load_data(config, options)
    if options.overwrite:
        _remaining(config, data)  # complains before anything is deleted
        run_dir.delete()
    about = about_run(data, options)
    with run_dir.writing(config, about):
        view = display.Display(config, header(config, data, about["device"], run_dir))
        with contextlib.closing(view):
            lottery.find_tickets(
                config,
                data,
                run_dir,
                jit=options.jit,
                checkpoint_seconds=options.checkpoint_seconds,
                watchers=[view, *event_writers(run_dir, options)],
            )
        print(f"\n{outcome(run_dir)}")
        print(f"Figures:   {program.python()} -m experiments.report {run_dir.path}")


def load_data(config: ExperimentConfig, options: RunOptions) -> "Data":
    """Returns the config's data set in the shape of its network's images."""
    from lth_tf import datasets, networks
    from lth_tf.training import devices

    devices.configure(options.deterministic)  # before the first tensor
    return datasets.load(
        config.dataset,
        image_shape=networks.image_shape(config.network),
        validation_size=config.validation_size,
        seed=config.seed,
        data_dir=options.data_dir,
        cache_dir=pathlib.Path(options.runs_dir) / ".cache",
    )


def event_writers(run_dir: RunDir, options: RunOptions) -> list:
    """Returns the watchers that `--tensorboard` asks for."""
    if not options.tensorboard:
        return []
    from experiments.tensorboard import EventWriter

    return [EventWriter(run_dir.path / "tensorboard")]


def _print_plan(
    trials: list[ExperimentConfig], paths: list[pathlib.Path], options: RunOptions
) -> None:
    """Prints what the trials would do and how much they would write."""
    tf_logging.import_tensorflow()
    from lth_tf.masking.model import get_weights
    from lth_tf.tickets import ticket as tickets

    config = trials[0]
    data = load_data(config, options)
    remaining = _remaining(config, data)
    for level, left in enumerate(remaining):
        print(f"level {level:>3}{100 * left / remaining[0]:9.2f} % remaining{left:13,} weights")
    stages = len(remaining) * (1 + config.reinits + config.random_masks)
    model = tickets.new_model(config, data, "init")
    weights = sum(value.nbytes for value in get_weights(model).values())
    written = stages * (weights + remaining[0] // 8) + weights
    print(
        f"\n{len(trials)} trial{'s' if len(trials) > 1 else ''} of {stages} trainings of "
        f"{config.iterations:,} iterations: {len(trials) * stages * config.iterations:,} in all; "
        f"{len(trials) * written / 1e6:,.0f} MB on disk.\n"
        f"Results would be in {paths[0]}. Nothing was trained."
    )


def _remaining(config: ExperimentConfig, data: "Data") -> list[int]:
    """Returns the number of weights remaining at each level."""
    from lth_tf import networks, pruning
    from lth_tf.masking.model import get_masks
    from lth_tf.tickets import ticket as tickets

    model = tickets.new_model(config, data, "init")
    sizes = {path: mask.size for path, mask in get_masks(model).items()}
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())
    return pruning.plan(sizes, rates, config)


def run_side_by_side(
    trials: list[ExperimentConfig], paths: list[pathlib.Path], options: RunOptions
) -> None:
    """Runs each trial in a process of its own, `options.jobs` at a time."""
    cores = sorted(os.sched_getaffinity(0))
    jobs = min(options.jobs, len(trials))
    shares = [cores[i::jobs] or cores for i in range(jobs)]
    started = time.monotonic()
    print(f"{len(trials)} trials, {jobs} at a time, in {paths[0].parent}", flush=True)

    interrupted = threading.Event()

    def work(job: int) -> list[int]:
        codes = []
        for k in range(job, len(trials), jobs):
            if not interrupted.is_set():
                codes.append(_run_child(trials[k], set(shares[job])))
            if codes[-1:] == [program.INTERRUPTED]:
                interrupted.set()
        return codes

    with ThreadPoolExecutor(jobs) as pool:
        try:
            codes = [code for codes in pool.map(work, range(jobs)) for code in codes]
        except KeyboardInterrupt:
            interrupted.set()
            raise
    if interrupted.is_set():
        raise KeyboardInterrupt
    failed = sum(code != 0 for code in codes)
    print(f"{len(trials) - failed} trials done in {time.monotonic() - started:.0f} s")
    if failed:
        raise RunError(f"{failed} of {len(trials)} trials failed; their errors are above.")


def _run_child(config: ExperimentConfig, cores: set[int]) -> int:
    """Runs this program for one seed on the given cores, its lines marked with the seed."""
    spec = sys.modules["__main__"].__spec__
    program = ["-m", spec.name] if spec else [sys.argv[0]]
    command = [sys.executable, *program, *sys.argv[1:]]
    command += [f"--seed={config.seed}", "--trials=1", "--jobs=1"]
    with subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=lambda: os.sched_setaffinity(0, cores),
    ) as child:
        for line in child.stdout:
            print(f"seed {config.seed} | {line}", end="", flush=True)
    return child.returncode


def header(config: ExperimentConfig, data: "Data", device: str, run_dir: RunDir) -> str:
    """Returns what is printed of data, training and device above the table."""
    return (
        f"{len(data.train):,} training, {len(data.validation):,} validation and "
        f"{len(data.test):,} test images\n"
        f"Levels 0 to {config.levels} of {config.iterations:,} iterations, "
        f"batch {config.batch_size}, {config.optimizer} {config.learning_rate:g}, "
        f"seed {config.seed}, on {device}\n"
        f"Results in {run_dir.path}"
    )


def about_run(data: "Data", options: RunOptions) -> dict[str, Any]:
    """Returns what config.json says beside the config: what the trial runs on."""
    return provenance(
        data=data_record(data, options.data_dir),
        jit=options.jit,
        deterministic=options.deterministic,
    )
