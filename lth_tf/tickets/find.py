"""The procedure: train, prune, rewind, again (paper, section 2)."""

import time
from collections.abc import Sequence

import keras

from lth_tf import networks, pruning
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.masking import arrays as mask_counts
from lth_tf.masking.model import get_masks, get_weights
from lth_tf.runs.history import Evaluation
from lth_tf.runs.run_dir import RunDir, Stage
from lth_tf.tickets import ticket as tickets
from lth_tf.training.trainer import Trainer


class Watcher:
    """Is told what happens while tickets are sought; this one does nothing."""

    def run_started(self, weights: int) -> None:
        """Called once the network is built, with the number of its prunable weights."""

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Called before a stage trains on from `iteration`."""

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Called after every evaluation."""

    def stage_finished(self, stage: Stage, summary: dict) -> None:
        """Called when a stage is on the disk, also for one that was already there."""


def find_tickets(
    config: ExperimentConfig,
    data: Data,
    run_dir: RunDir,
    *,
    jit: str = "auto",
    checkpoint_seconds: float = 60.0,
    watchers: Sequence[Watcher] = (),
) -> None:
    """Runs one trial of an experiment; goes on where an earlier call stopped.

    Must be called inside `run_dir.writing(...)`. Nothing of the level before is
    needed to train a level but its files, so a stage that is done is skipped.

    Args:
        config: what to run.
        data: what to train on.
        run_dir: where the results go.
        jit: see `Trainer`.
        checkpoint_seconds: time between checkpoints inside a level.
        watchers: are told what happens.

    Raises:
        UsageError: if the network or method is unknown, pruning would empty a
            layer, or a file of the run directory is damaged.
        RunError: if a loss is not finite or a file cannot be written.
    """
    model = tickets.new_model(config, data, "init")
    rates = pruning.layer_rates(networks.groups(model), config.prune_rates())
    dense = get_masks(model)
    pruning.plan({path: mask.size for path, mask in dense.items()}, rates, config)
    for watcher in watchers:
        watcher.run_started(mask_counts.total(dense))
    trainer = Trainer(model, data, config, jit)
    if not run_dir.has_origin():
        run_dir.save_origin(tickets.origin(model, trainer, config))
    for level in range(config.levels + 1):
        origin = run_dir.origin()
        masks, start = dense, origin
        if level:
            masks, start = tickets.next_ticket(run_dir, level, rates, config)
        for ticket in tickets.at_level(level, masks, start, origin, config, data):
            stage = Stage(level, ticket.control)
            if not run_dir.has(stage):
                _train(stage, ticket, model, trainer, run_dir, checkpoint_seconds, watchers)
            for watcher in watchers:
                watcher.stage_finished(stage, run_dir.summary(stage))


def _train(
    stage: Stage,
    ticket: tickets.Ticket,
    model: keras.Model,
    trainer: Trainer,
    run_dir: RunDir,
    checkpoint_seconds: float,
    watchers: Sequence[Watcher],
) -> None:
    """Trains a stage from its ticket, or from its checkpoint."""
    tickets.rewind(model, ticket.masks, ticket.weights)
    masks = ticket.masks
    start = _resume(stage, ticket, trainer, run_dir)
    for watcher in watchers:
        watcher.stage_started(stage, mask_counts.density(masks), start)
    saved = time.monotonic()
    for evaluation in trainer.evaluations():
        run_dir.append_metrics(stage, evaluation.to_json())
        for watcher in watchers:
            watcher.evaluated(stage, evaluation)
        if time.monotonic() - saved >= checkpoint_seconds:
            run_dir.save_progress(stage, trainer.state())
            saved = time.monotonic()
    run_dir.save_stage(stage, masks, get_weights(model), trainer.history())


def _resume(stage: Stage, ticket: tickets.Ticket, trainer: Trainer, run_dir: RunDir) -> int:
    """Restarts or restores the trainer and returns the iteration it is at."""
    state = run_dir.progress(stage)
    if state is None:
        trainer.restart(ticket.iteration)
    else:
        trainer.restore(state)
    run_dir.forget_metrics(stage, after=-1 if state is None else trainer.iteration)
    return trainer.iteration
