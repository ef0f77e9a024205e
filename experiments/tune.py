"""Searches for the smallest network that is as good as the dense one, with KerasTuner.

    python -m experiments.tune --network=conv2
    python -m experiments.tune --network=lenet --dataset=digits --iterations=500 --levels=12
    python -m experiments.tune --network=resnet18 --search=learning_rate,warmup_iterations

Prune rates, learning rate, warm-up and rewind iteration are searched around the values of the
network's own experiment, which the first trial has. Each trial runs all levels; what counts is
its smallest level whose validation accuracy, at its early stop, is at most --tolerance points
below that of the dense network trained with the experiment's values. The test set is looked at
only in the end, for the best trial. The same command goes on with a search that was stopped.

Several processes search together as KerasTuner's distributed mode: the same command once as
chief, which hands out trials, and once for each worker, all with access to the same folder:

    export KERASTUNER_ORACLE_IP=127.0.0.1 KERASTUNER_ORACLE_PORT=8000
    KERASTUNER_TUNER_ID=chief   python -m experiments.tune --network=conv2 &
    KERASTUNER_TUNER_ID=worker0 python -m experiments.tune --network=conv2 &
    KERASTUNER_TUNER_ID=worker1 python -m experiments.tune --network=conv2

The chief waits for workers that were stopped: start them again under the same id.
"""

import contextlib
import dataclasses
import os
import pathlib
import sys
from typing import Any

from lth_tf.cli import flags, program, tf_logging
from lth_tf.config import ExperimentConfig, RunOptions, run_name
from lth_tf.lazy import lazy_imports
from lth_tf.options import Options, option, option_of

from . import cli
from .default_config import asked_network, default_config

with lazy_imports():
    from lth_tf import tuning
    from lth_tf.tuning import space

    from . import tune_display


@dataclasses.dataclass(frozen=True)
class TuneOptions(Options):
    """What is searched, and how."""

    tolerance: float = option(
        0.5,
        "Points of validation accuracy (percent) a network may be below the dense one.",
        minimum=0.0,
        below=100.0,
    )
    max_trials: int = option(
        20, "Trials to run; a finished search goes on if it grows.", minimum=1, in_run_name=False
    )
    algorithm: str = option(
        "bayesian", "Gaussian process, or random values.", choices=("bayesian", "random")
    )
    search: tuple[str, ...] = option(
        (), "Fields to search, comma-separated. Default: all that apply to the network."
    )
    patience: int = option(
        3,
        "A trial ends after this many levels in a row that are outside the tolerance and worse "
        "than its own dense network; 0 trains all levels.",
        minimum=0,
    )


@dataclasses.dataclass(frozen=True)
class TuneRunOptions(Options):
    """Where a search is run."""

    runs_dir: str = option_of(RunOptions, "runs_dir")
    data_dir: str = option_of(RunOptions, "data_dir")
    jit: str = option_of(RunOptions, "jit")
    step: str = option_of(RunOptions, "step")
    deterministic: bool = option_of(RunOptions, "deterministic")
    checkpoint_seconds: float = option_of(RunOptions, "checkpoint_seconds")
    overwrite: bool = option_of(RunOptions, "overwrite")


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.run_main(_run))


def _run() -> None:
    defaults, _ = default_config(asked_network(sys.argv))
    parsed = flags.parse(sys.argv, __doc__, TuneOptions(), TuneRunOptions(), defaults)
    if parsed is None:
        return
    options, run_options, config = parsed
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    tf_logging.import_tensorflow()
    # Before data are loaded; the network may have fewer groups.
    space.search_space(config, config.prune_rates(), options.search)
    tuner, view = _tuner(config, defaults, options, run_options)
    with contextlib.closing(view):
        tuner.search()
    if tuner.role == "worker":
        print("No more trials. The chief prints the table.")
        return
    print(tune_display.summary(tuner.results(), tuner.reference(), tuner.project))


def _tuner(
    config: ExperimentConfig,
    defaults: ExperimentConfig,
    options: TuneOptions,
    run_options: TuneRunOptions,
) -> "tuple[tuning.TicketTuner, Any]":
    run = RunOptions(**dataclasses.asdict(run_options))
    data = cli.load_data(config, run)
    about = cli.about_run(data, run)
    view = tune_display.TuneDisplay(config, options.max_trials)
    tuner = tuning.TicketTuner(
        config,
        data,
        directory=pathlib.Path(run.runs_dir) / f"tune_{config.network}",
        project_name=project_name(config, defaults, options),
        tolerance=options.tolerance / 100,
        max_trials=options.max_trials,
        algorithm=options.algorithm,
        searched=options.search,
        patience=options.patience,
        jit=run.jit,
        step=run.step,
        deterministic=run.deterministic,
        checkpoint_seconds=run.checkpoint_seconds,
        overwrite=run.overwrite,
        about=about,
        listener=view,
    )
    view.header(data, about["device"], options.tolerance, tuner)
    return tuner, view


def project_name(config: ExperimentConfig, defaults: ExperimentConfig, options: TuneOptions) -> str:
    """Returns the folder name of a search: what differs from the defaults, or "default"."""
    changed = [
        f"{name}={getattr(config, name)}"
        for name in ("levels", "seed")
        if getattr(config, name) != getattr(defaults, name)
    ]
    names = [run_name(config, defaults), run_name(options, TuneOptions()), *changed]
    return ",".join(name for name in names if name != "default") or "default"


if __name__ == "__main__":
    main()
