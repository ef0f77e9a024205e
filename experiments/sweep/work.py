"""What is sent to a machine and back. Read without TensorFlow."""

import dataclasses
from typing import Any

import lth_tf
from lth_tf.config import ExperimentConfig, RunOptions
from lth_tf.runs.parcel import Parcel
from lth_tf.runs.stage import Stage


@dataclasses.dataclass(frozen=True)
class Work:
    """A run as a machine is told of it.

    Attributes:
        config: `to_json` of its config.
        options: how it is trained.
        path: its directory on the driver's machine.
        cores: what a training takes.
        data: what config.json says of the data it was begun with; {} before.
        version: the driver's version of lth_tf.
    """

    config: dict[str, Any]
    options: RunOptions
    path: str
    cores: int
    data: dict[str, Any] = dataclasses.field(default_factory=dict)
    version: str = lth_tf.__version__

    def experiment(self) -> ExperimentConfig:
        """Returns the config."""
        return ExperimentConfig.from_json(self.config)


@dataclasses.dataclass(frozen=True)
class Plan:
    """What a run consists of.

    Attributes:
        levels: the last level that is trained.
        needs: stage -> those that must be done before it, in the order of a run on one machine.
        about: what config.json says beside the config.
        notes: lines to print.
    """

    levels: int
    needs: dict[Stage, list[Stage]]
    about: dict[str, Any]
    notes: str


@dataclasses.dataclass(frozen=True)
class Failed:
    """Work that would fail again in the same way.

    Attributes:
        reason: one line.
    """

    reason: str


@dataclasses.dataclass(frozen=True)
class Stopped:
    """A training that was told to stop; its checkpoint is at the desk."""


@dataclasses.dataclass(frozen=True)
class News:
    """What the desk has heard of a training.

    Attributes:
        iteration: how far it is.
        checkpoint: the newest since it was last asked for.
    """

    iteration: int = 0
    checkpoint: Parcel | None = None


Trained = Parcel | Failed | Stopped
