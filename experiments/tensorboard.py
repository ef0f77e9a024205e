"""TensorBoard event files of a running experiment."""

import importlib.util
import pathlib

import tensorflow as tf
from tensorflow.compat.v1 import Summary

from lth_tf.runs.history import Evaluation
from lth_tf.runs.stage import Stage
from lth_tf.tickets.listener import RunListener


def how_to_look(folder: pathlib.Path) -> str:
    """Returns one line on how to look at the events in a folder; writing needs no package."""
    there = importlib.util.find_spec("tensorboard") is not None
    install = "" if there else "pip install tensorboard (it is not installed), then "
    return f"To look at the events: {install}tensorboard --logdir={folder}"


class EventWriter(RunListener):
    """Writes every evaluation as scalars, one TensorBoard run a stage.

    Args:
        folder: where the event files go: `tensorboard --logdir=FOLDER`.
    """

    def __init__(self, folder: pathlib.Path):
        self._folder = folder
        self._writer: tf.summary.SummaryWriter | None = None

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Opens the stage's event file."""
        self._writer = tf.summary.create_file_writer(str(self._folder / str(stage)))
        self._write({"density": density}, iteration)

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Adds the evaluation's numbers; those that were not measured are left out."""
        numbers = evaluation.to_json()
        del numbers["iteration"]
        self._write(numbers, evaluation.iteration)

    def stage_finished(self, stage: Stage, summary: dict) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _write(self, numbers: dict[str, float], step: int) -> None:
        if self._writer is None:
            return
        # tf.summary.scalar would need the tensorboard package to be installed here.
        values = [Summary.Value(tag=name, simple_value=value) for name, value in numbers.items()]
        with self._writer.as_default():
            tf.summary.experimental.write_raw_pb(Summary(value=values).SerializeToString(), step)
        self._writer.flush()
