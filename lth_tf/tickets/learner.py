"""What trains the stages of a procedure: a `Trainer`, from checkpoint to checkpoint."""

import dataclasses
import time
from collections.abc import Callable, Sequence
from typing import Protocol

import keras
import numpy as np

from lth_tf import signals
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.masking.arrays import Masks, density
from lth_tf.masking.model import get_masks, get_weights, set_masks, set_weights
from lth_tf.methods.base import Ticket, Weights
from lth_tf.methods.hooks import Hooks
from lth_tf.runs.history import History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN
from lth_tf.tickets.listener import RunListener
from lth_tf.training.trainer import Trainer

Trained = tuple[Weights, History | None] | tuple[Weights, History | None, Masks]

_STEP = "step"  # of a checkpoint; alone in it before the first evaluation


class Learner(Protocol):
    """Trains a ticket, in whatever way."""

    def train(self, ticket: Ticket, listeners: Sequence[RunListener]) -> Trained:
        """Returns the weights at the end, pruned ones as 0, and what was measured.

        A third value are the masks at the end, where the learner knows that they may not
        be the ticket's.
        """


@dataclasses.dataclass(frozen=True)
class Setup:
    """What a learner is made from: the arguments of `find_tickets`, and the network.

    Attributes:
        config: what is run.
        data: what is trained on.
        run_dir: where the results go.
        model: the masked network.
        jit: see `Trainer`.
        step: see `Trainer`.
        checkpoint_seconds: time between checkpoints inside a level.
        new_model: returns another network of the config.
    """

    config: ExperimentConfig
    data: Data
    run_dir: RunDir
    model: keras.Model
    jit: str
    step: str
    checkpoint_seconds: float
    new_model: Callable[[], keras.Model]


LearnerMaker = Callable[[Setup], Learner]


class TrainerLearner:
    """Trains tickets with a `Trainer`, from their checkpoint if there is one.

    Args:
        trainer: trains the masked network.
        run_dir: where checkpoints and evaluations go.
        checkpoint_seconds: time between checkpoints.
        hooks: those of the trainer.
    """

    def __init__(self, trainer: Trainer, run_dir: RunDir, checkpoint_seconds: float, hooks: Hooks):
        self._trainer = trainer
        self._run_dir = run_dir
        self._checkpoint_seconds = checkpoint_seconds
        self._hooks = hooks

    def train(self, ticket: Ticket, listeners: Sequence[RunListener]) -> Trained:
        """Trains a ticket to its end.

        Ctrl-C, SIGTERM and SIGHUP wait for the next evaluation, which is kept in a checkpoint.

        Raises:
            RunError: if a loss is not finite or a file cannot be written.
        """
        trainer, stage = self._trainer, ticket.stage
        rewind(trainer.model, ticket)
        self._hooks.begin(ticket)
        start = self._resume(ticket)
        for listener in listeners:
            listener.stage_started(stage, density(ticket.masks), start)
        saved = time.monotonic()
        with signals.held_back() as held:
            for evaluation in trainer.evaluations(until=ticket.stop):
                self._run_dir.append_metrics(stage, evaluation.to_json())
                ends = self._hooks.evaluated(evaluation.iteration)
                due = time.monotonic() - saved >= self._checkpoint_seconds
                if held.arrived or (due and not ends):
                    self._run_dir.save_progress(stage, trainer.state())
                    saved = time.monotonic()
                if held.arrived:
                    for listener in listeners:
                        listener.interrupted(stage, evaluation.iteration)
                    held.release()
                    held.hold()
                for listener in listeners:
                    listener.evaluated(stage, evaluation)
                if ends:
                    break
        history = None if stage == ORIGIN else trainer.history()
        self._hooks.finish()
        return (
            {**get_weights(trainer.model), **self._hooks.learned()},
            history,
            get_masks(trainer.model),
        )

    def state_at(self, ticket: Ticket) -> dict[str, np.ndarray]:
        """Returns the trainer's state where a ticket stops; nothing is recorded."""
        rewind(self._trainer.model, ticket)
        self._hooks.begin(ticket)
        self._trainer.restart(ticket.start, step="dense")
        for _ in self._trainer.evaluations(until=ticket.stop):
            pass
        return self._trainer.state()

    def _resume(self, ticket: Ticket) -> int:
        """Restarts or restores the trainer and returns the iteration it is at."""
        state = self._run_dir.progress(ticket.stage)
        if state is None:
            self._trainer.restart(ticket.start)
            if self._trainer.timed:
                # Another timing might choose the other step, whose results are rounded otherwise.
                self._run_dir.save_progress(ticket.stage, {_STEP: np.array(self._trainer.step)})
        elif state.keys() == {_STEP}:
            self._trainer.restart(ticket.start, step=str(state[_STEP]))
            state = None
        else:
            self._trainer.restore(state)
        after = -1 if state is None else self._trainer.iteration
        self._run_dir.forget_metrics(ticket.stage, after=after)
        return self._trainer.iteration


def rewind(model: keras.Model, ticket: Ticket) -> None:
    """Makes the model a ticket: masks it, and puts the survivors back to its weights."""
    set_masks(model, ticket.masks)
    set_weights(model, ticket.weights)
