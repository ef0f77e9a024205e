"""TensorBoard event files of a running experiment."""

import pathlib

import tensorflow as tf

from lth_tf.lottery import Watcher
from lth_tf.records import Stage
from lth_tf.training import Evaluation


class EventWriter(Watcher):
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
        with self._writer.as_default(step=iteration):
            tf.summary.scalar("density", density)

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Adds the evaluation's numbers; those that were not measured are left out."""
        numbers = evaluation.to_json()
        with self._writer.as_default(step=numbers.pop("iteration")):
            for name, value in numbers.items():
                tf.summary.scalar(name, value)
        self._writer.flush()

    def stage_finished(self, stage: Stage, summary: dict) -> None:
        """Closes the event file."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None
