"""Which runs a command line asks for: seeds of an experiment, or the paper's recipe."""

import dataclasses
import os
import pathlib
import shlex
from collections.abc import Iterator, Sequence

from lth_tf.cli import flags
from lth_tf.config import CRITERIA, ExperimentConfig, RunOptions
from lth_tf.errors import UsageError

from .. import cli, retrain
from ..claims import recipe
from ..default_config import default_config
from .run import Wanted

_Preset = dict[str, dict[str, object]]


def of_experiment(
    config: ExperimentConfig, defaults: ExperimentConfig, presets: _Preset, options: RunOptions
) -> list[Wanted]:
    """Returns a run a seed of an experiment.

    Args:
        config: what is asked for, `replicates` seeds of it.
        defaults: the values of the network's own program, below whose name the runs lie.
        presets: its presets.
        options: how it is trained.

    Raises:
        UsageError: if there is no such criterion.
    """
    CRITERIA.get(config.criterion)
    experiment = cli.Experiment(defaults, "", presets, defaults.network)
    return [
        Wanted(experiment, each, options, f"seed_{each.seed}") for each in cli.replicates_of(config)
    ]


def of_recipe(only: Sequence[str], options: RunOptions) -> list[Wanted]:
    """Returns the runs of the recipe that start from no other, a group a command.

    Args:
        only: figures; none for all.
        options: how they are trained.

    Raises:
        UsageError: if the recipe has no such figure.
    """
    found = []
    for group, step in enumerate(_steps(only)):
        if step.needed.masks_of is None:
            defaults, presets = default_config(step.needed.network)
            config = _parsed(step.line, defaults, presets)
            for run in of_experiment(config, defaults, presets, options):
                found.append(_labelled(run, group))
    return found


def of_recipes_tickets(only: Sequence[str], options: RunOptions) -> Iterator[Wanted]:
    """Yields the recipe's runs that train tickets of the others again, once these are there.

    Args and errors are those of `of_recipe`; also a UsageError if a run is not there.
    """
    for group, step in enumerate(_steps(only)):
        if step.needed.masks_of is None:
            continue
        seed_0 = pathlib.Path(options.runs_dir, *pathlib.Path(step.needed.more["ticket"]).parts[1:])
        for seed in range(step.trials):
            experiment = retrain.experiment(str(seed_0.with_name(f"seed_{seed}")))
            config = experiment.defaults.replace(
                **step.needed.changes,
                method=dataclasses.replace(
                    experiment.defaults.method, level=step.needed.more["level"]
                ),
            )
            yield _labelled(Wanted(experiment, config, options, ""), group)


def _steps(only: Sequence[str]) -> list[recipe.Step]:
    steps = recipe.steps()
    known = {figure for step in steps for figure in step.figures.split(", ")}
    if unknown := [figure for figure in only if figure not in known]:
        raise UsageError(
            f"Expected figures of the recipe: {', '.join(sorted(known, key=_in_order))}. "
            f"Received: only={','.join(unknown)}."
        )
    return [s for s in steps if not only or set(only).intersection(s.figures.split(", "))]


def _in_order(figure: str) -> tuple[int, str]:
    return int("".join(filter(str.isdigit, figure))), figure


def _parsed(line: str, defaults: ExperimentConfig, presets: _Preset) -> ExperimentConfig:
    """Returns what a command of the recipe asks its program for."""
    words = [word for word in shlex.split(line) if word.startswith("--")]
    (config,) = flags.parse(["sweep", *words], "", defaults, presets=presets) or [defaults]
    return config


def _labelled(run: Wanted, group: int) -> Wanted:
    label = os.path.relpath(run.path, run.options.runs_dir)
    return dataclasses.replace(run, label=label, group=group)
