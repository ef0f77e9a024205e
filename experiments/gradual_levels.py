"""Gradually pruned networks as the levels of a run directory."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Sequence

import keras
import numpy as np

from lth_tf import networks, pruning
from lth_tf.cli.process import ProgramError, lines_of
from lth_tf.config import GradualConfig
from lth_tf.datasets import Data
from lth_tf.errors import RunError, UsageError
from lth_tf.files import read_arrays, write_arrays, write_json
from lth_tf.masking.model import get_masks, set_weights, strip_masks
from lth_tf.runs.history import Evaluation, History
from lth_tf.runs.run_dir import RunDir, Stage
from lth_tf.tickets import find as lottery
from lth_tf.tickets import ticket as tickets
from lth_tf.training.trainer import uses_jit

_PROGRAM = pathlib.Path(__file__).with_name("gradual_twin.py")


def kept_weights(sizes: dict[str, int], rates: dict[str, float], density: float) -> dict[str, int]:
    """Returns weight path -> number of weights kept, so that all together have a density.

    All weights are pruned as the same, possibly fractional, number of levels would, so
    layers of a network are as dense as those of its ticket of the same size.

    Args:
        sizes: weight path -> number of weights.
        rates: weight path -> fraction of its remaining weights pruned a level; those
            of rate 0 stay as they are and are left out of the result.
        density: fraction of all the weights to keep.

    Raises:
        UsageError: if what is not pruned is more than that, or a layer would lose its
            last weight.

    Example:
    >>> kept_weights({"fc": 900, "output": 100}, {"fc": 0.5, "output": 0.0}, 0.325)
    {'fc': 225}
    """
    pruned = {path: size for path, size in sizes.items() if rates[path]}
    target = density * sum(sizes.values())
    fixed = sum(sizes.values()) - sum(pruned.values())

    def after(levels: float) -> dict[str, float]:
        return {path: size * (1 - rates[path]) ** levels for path, size in pruned.items()}

    if fixed >= target:
        raise UsageError(
            f"Expected final_density above {fixed / sum(sizes.values()):.4g}, the share of the "
            f"weights whose prune rate is 0. Received: final_density={density:g}."
        )
    low, high = 0.0, 1.0
    while fixed + sum(after(high).values()) > target:
        high *= 2
    for _ in range(100):
        middle = (low + high) / 2
        low, high = (
            (middle, high) if fixed + sum(after(middle).values()) > target else (low, middle)
        )
    kept = {path: round(count) for path, count in after(high).items()}
    for path, count in kept.items():
        if count == 0:
            raise UsageError(
                f"Expected every layer to keep at least one weight. Received: final_density="
                f"{density:g}, which would prune the last weight of {path!r}."
            )
    return kept


def plan(model: keras.Model, config: GradualConfig) -> list[dict[str, int]]:
    """Returns what `kept_weights` returns for each final density.

    Args:
        model: the masked network.
        config: prune rates and final densities.
    """
    sizes = {path: mask.size for path, mask in get_masks(model).items()}
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())
    return [kept_weights(sizes, rates, density) for density in config.final_density]


def train_levels(
    config: GradualConfig,
    data: Data,
    run_dir: RunDir,
    *,
    jit: str = "auto",
    checkpoint_seconds: float = 60.0,
    watchers: Sequence[lottery.Watcher] = (),
) -> None:
    """Trains the dense network and prunes one gradually for each final density.

    Must be called inside `run_dir.writing(...)`. A level that is done is skipped; one
    that was stopped starts again from its beginning.

    Args:
        config: what to run.
        data: what to train on.
        run_dir: where the results go.
        jit: see `lth_tf.training.trainer.Trainer`.
        checkpoint_seconds: time between checkpoints of the dense network.
        watchers: are told what happens.

    Raises:
        UsageError: if the network is unknown, or cannot be as small as asked for.
        RunError: if a loss is not finite, pruning fails, or a file cannot be written.
    """
    model = tickets.new_model(config, data, "init")
    levels = plan(model, config)
    lottery.find_tickets(
        dataclasses.replace(config, levels=0),
        data,
        run_dir,
        jit=jit,
        checkpoint_seconds=checkpoint_seconds,
        watchers=watchers,
    )
    set_weights(model, run_dir.origin())
    dense = get_masks(model)
    compiled = uses_jit(model, jit)
    model = strip_masks(model)
    for level, kept in enumerate(levels, 1):
        stage = Stage(level)
        if not run_dir.has(stage):
            run_dir.forget_metrics(stage, after=-1)
            for watcher in watchers:
                watcher.stage_started(stage, config.final_density[level - 1], 0)
            job = {
                "config": config.to_json(),
                "kept": kept,
                "jit": compiled,
                "preprocessing": dataclasses.asdict(data.preprocessing),
            }
            weights, history = _train(stage, model, data, job, run_dir, watchers)
            zeros = {path: (weights[path] != 0).astype(np.uint8) for path in kept}
            run_dir.save_stage(stage, {**dense, **zeros}, weights, history)
        for watcher in watchers:
            watcher.stage_finished(stage, run_dir.summary(stage))


def _train(
    stage: Stage,
    model: keras.Model,
    data: Data,
    job: dict,
    run_dir: RunDir,
    watchers: Sequence[lottery.Watcher],
) -> tuple[dict[str, np.ndarray], History]:
    """Trains in a process of its own; returns the last weights and what became of it."""
    evaluations, outcome = [], {}
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        model.save(folder / "model.keras")
        write_arrays(folder / "data.npz", _arrays(data))
        write_json(folder / "job.json", job)
        try:
            for record in map(json.loads, lines_of(_PROGRAM, name)):
                if "seconds" in record:
                    outcome = record
                    continue
                remaining = record.pop("remaining")
                evaluation = Evaluation(**record)
                evaluations.append(evaluation)
                run_dir.append_metrics(stage, {**evaluation.to_json(), "remaining": remaining})
                for watcher in watchers:
                    watcher.evaluated(stage, evaluation)
        except ProgramError as error:
            raise RunError(f"Level {stage.level} was not trained to its end. {error}") from error
        weights = read_arrays(folder / "weights.npz")
    return weights, History(evaluations=evaluations, **outcome)


def _arrays(data: Data) -> dict[str, np.ndarray]:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {f"{name}_x": split.inputs for name, split in splits.items()} | {
        f"{name}_y": split.labels for name, split in splits.items()
    }
