"""Trains the levels of gradual pruning with TFMOT, in a process of its own."""

import dataclasses
import json
import pathlib
import tempfile
from collections.abc import Sequence

import keras
import numpy as np

from lth_tf.cli.process import ProgramError, lines_of
from lth_tf.datasets import Data
from lth_tf.errors import RunError
from lth_tf.files import read_arrays, write_arrays, write_json
from lth_tf.masking.model import get_masks, set_weights, strip_masks
from lth_tf.methods.base import Ticket, Weights
from lth_tf.methods.densities import kept_weights
from lth_tf.runs.history import Evaluation, History
from lth_tf.tickets.find import network_rates, new_model, trainer_learner
from lth_tf.tickets.learner import Setup, Trained
from lth_tf.tickets.listener import RunListener
from lth_tf.training.choice import uses_jit

_PROGRAM = f"{__package__}.gradual_tfmot"


def learner(setup: Setup) -> "GradualLearner":
    """Returns what trains the levels of a run of gradual pruning."""
    return GradualLearner(setup)


class GradualLearner:
    """Trains the dense network with a `Trainer`, and prunes one for each final density.

    A level that was stopped starts again from its beginning.

    Args:
        setup: what to train.
    """

    def __init__(self, setup: Setup):
        self._setup = setup
        self._dense = trainer_learner(setup)

    def train(self, ticket: Ticket, listeners: Sequence[RunListener]) -> Trained:
        """Trains a level to its end.

        Raises:
            UsageError: if the network cannot be as small as asked for.
            RunError: if a loss is not finite, pruning fails, or a file cannot be written.
        """
        setup, stage = self._setup, ticket.stage
        if not stage.level or stage.control:
            return self._dense.train(ticket, listeners)
        setup.run_dir.forget_metrics(stage, after=-1)
        density = setup.config.method.final_density[stage.level - 1]
        for listener in listeners:
            listener.stage_started(stage, density, 0)
        model = new_model(setup.config, setup.data, "init")
        sizes = {path: mask.size for path, mask in get_masks(model).items()}
        kept = kept_weights(sizes, network_rates(setup.config, model), density)
        set_weights(model, ticket.weights)
        job = {
            "config": setup.config.to_json(),
            "kept": kept,
            "jit": uses_jit(model, setup.jit),
            "preprocessing": dataclasses.asdict(setup.data.preprocessing),
        }
        return self._in_a_process(ticket, strip_masks(model), job, listeners)

    def _in_a_process(
        self, ticket: Ticket, model: keras.Model, job: dict, listeners: Sequence[RunListener]
    ) -> tuple[Weights, History]:
        setup = self._setup
        evaluations, outcome = [], {}
        with tempfile.TemporaryDirectory() as name:
            folder = pathlib.Path(name)
            model.save(folder / "model.keras")
            write_arrays(folder / "data.npz", _arrays(setup.data))
            write_json(folder / "job.json", job)
            try:
                for record in map(json.loads, lines_of(_PROGRAM, name)):
                    if "seconds" in record:
                        outcome = record
                        continue
                    remaining = record.pop("remaining")
                    evaluation = Evaluation(**record)
                    evaluations.append(evaluation)
                    setup.run_dir.append_metrics(
                        ticket.stage, {**evaluation.to_json(), "remaining": remaining}
                    )
                    for listener in listeners:
                        listener.evaluated(ticket.stage, evaluation)
            except ProgramError as error:
                raise RunError(
                    f"Level {ticket.stage.level} was not trained to its end. {error}"
                ) from error
            weights = read_arrays(folder / "weights.npz")
        return weights, History(evaluations=evaluations, **outcome)


def _arrays(data: Data) -> dict[str, np.ndarray]:
    splits = {"train": data.train, "validation": data.validation, "test": data.test}
    return {f"{name}_x": split.inputs for name, split in splits.items()} | {
        f"{name}_y": split.labels for name, split in splits.items()
    }
