"""Gradual magnitude pruning, the baseline that people use instead of tickets.

    python -m experiments.gradual --network=lenet --final_density=0.036
    python -m experiments.gradual --network=conv2 --final_density=0.2,0.088,0.046
    python -m experiments.gradual --network=lenet --dataset=digits --iterations=1000

--network takes a network's own program (experiments/<network>.py) for the defaults of all
other flags. The network starts from the tickets' initial weights and sees their batches at
their learning rates for as many iterations as one of their levels, while TensorFlow
Model Optimization (TFMOT) prunes it, in a process of its own. Level 0 is the dense network.

Layers are pruned as those of a ticket of the same size by the prune rates, each by its
own count: also where tickets rank the weights of all layers together. Early stop is
the minimum validation loss after the last pruning.

The results lie beside the tickets', in runs/<network>/gradual: `experiments.report` draws
both. A run that is stopped goes on with the level it was at, from that level's beginning.

Source:
    Zhu & Gupta 2017, arXiv:1710.01878.
"""

import contextlib
import dataclasses
import pathlib
import sys

from experiments import cli
from experiments.own_values import asked_network, own_values
from lth_tf.cli import flags, program, tf_logging
from lth_tf.config import ExperimentConfig, GradualConfig, RunOptions, run_name
from lth_tf.runs.run_dir import RunDir, Stage


def main() -> None:
    """Runs the program and exits."""
    sys.exit(program.guarded(_run))


def run_path(
    config: GradualConfig, defaults: GradualConfig, runs_dir: str | pathlib.Path
) -> pathlib.Path:
    """Returns the directory of one trial: beside those of the network's tickets.

    Example:
    >>> defaults = GradualConfig()
    >>> str(run_path(defaults, defaults, "runs"))
    'runs/lenet/gradual/seed_0'
    >>> str(run_path(GradualConfig(final_density=(0.2, 0.1)), defaults, "runs"))
    'runs/lenet/gradual,final_density=0.2+0.1/seed_0'
    """
    changed = run_name(config, defaults)
    name = "gradual" if changed == "default" else f"gradual,{changed}"
    return pathlib.Path(runs_dir) / config.network / name / f"seed_{config.seed}"


def _run() -> None:
    own, presets = own_values(asked_network(sys.argv))
    defaults = GradualConfig.of(own)
    parsed = flags.parse(sys.argv, __doc__, defaults, RunOptions(), presets=presets)
    if parsed is None:
        return
    config, options = parsed
    trials = [
        dataclasses.replace(config, seed=seed, trials=1, levels=len(config.final_density))
        for seed in range(config.seed, config.seed + config.trials)
    ]
    paths = [run_path(trial, defaults, options.runs_dir) for trial in trials]
    if options.dry_run:
        _print_plan(trials, paths[0], options)
    elif len(trials) > 1 and options.jobs > 1:
        cli.run_side_by_side(trials, paths, options)
    else:
        for trial, path in zip(trials, paths, strict=True):
            _run_trial(trial, RunDir(path), options)
    if not options.dry_run:
        _print_next(config, own, paths[0])


def _run_trial(config: GradualConfig, run_dir: RunDir, options: RunOptions) -> None:
    tf_logging.import_tensorflow()
    from experiments import display, gradual_levels
    from lth_tf.tickets import ticket as tickets

    data = cli.load_data(config, options)
    # Complains before anything is written or deleted.
    gradual_levels.plan(tickets.new_model(config, data, "init"), config)
    if options.overwrite:
        run_dir.delete()
    about = cli.about_run(data, options)
    with run_dir.writing(config, about):
        header = f"{_schedule(config)}\n{cli.header(config, data, about['device'], run_dir)}"
        view = display.Display(config, header)
        with contextlib.closing(view):
            gradual_levels.train_levels(
                config,
                data,
                run_dir,
                jit=options.jit,
                checkpoint_seconds=options.checkpoint_seconds,
                watchers=[view, *cli.event_writers(run_dir, options)],
            )


def _schedule(config: GradualConfig) -> str:
    prunings = config.prunings()
    return (
        f"Pruned by TFMOT from iteration {prunings[0]:,} to {prunings[-1]:,}, "
        f"every {prunings.step:,}"
    )


def _print_plan(trials: list[GradualConfig], path: pathlib.Path, options: RunOptions) -> None:
    """Prints what the trials would do."""
    tf_logging.import_tensorflow()
    from experiments import gradual_levels
    from lth_tf.masking.model import get_masks
    from lth_tf.tickets import ticket as tickets

    config = trials[0]
    model = tickets.new_model(config, cli.load_data(config, options), "init")
    sizes = {name: mask.size for name, mask in get_masks(model).items()}
    total = sum(sizes.values())
    for level, kept in enumerate([{}, *gradual_levels.plan(model, config)]):
        left = sum((sizes | kept).values())
        print(f"level {level:>3}{100 * left / total:9.2f} % remaining{left:13,} weights")
    trainings = len(trials) * (1 + len(config.final_density))
    print(
        f"\n{trainings} trainings of {config.iterations:,} iterations. {_schedule(config)}.\n"
        f"Results would be in {path}. Nothing was trained."
    )


def _print_next(config: GradualConfig, own: ExperimentConfig, path: pathlib.Path) -> None:
    """Prints the commands that compare with tickets and export."""
    python, folder = program.python(), path.parent.parent
    found = [RunDir(file.parent) for file in folder.glob("*/seed_*/config.json")]
    if all(run.config().kind == GradualConfig.kind or not run.has(Stage(1)) for run in found):
        changed = [
            f"--{field.name}={_flag(getattr(config, field.name))}"
            for field in dataclasses.fields(ExperimentConfig)
            if field.name not in GradualConfig.FIXED and field.name not in ("levels", "network")
            if getattr(config, field.name) != getattr(own, field.name)
        ]
        command = " ".join([f"{python} -m experiments.{config.network}", *changed])
        print(f"\nTickets to compare with: {command}", end="")
    print(f"\nFigures, beside the tickets: {python} -m experiments.report {folder}")
    print(f"Export:  {python} -m export --run={path} --level={len(config.final_density)}")


def _flag(value: object) -> str:
    return ",".join(map(str, value)) if isinstance(value, tuple) else str(value)


if __name__ == "__main__":
    main()
