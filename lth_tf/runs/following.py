"""The run directory of a worker that trains along and leaves the writing to another."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from lth_tf.config import ExperimentConfig, FitConfig
from lth_tf.errors import RunError
from lth_tf.masking.arrays import Masks
from lth_tf.runs.history import History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

# Longer than a chief needs to write the files of a level to a shared folder.
_SECONDS = 300.0


class Following(RunDir):
    """Reads what the chief of several workers writes to the same, shared folder.

    What would be written is waited for: a worker goes on when the chief has it on the disk.
    """

    @contextlib.contextmanager
    def writing(
        self, config: ExperimentConfig | FitConfig, about: dict[str, Any] | None = None
    ) -> Iterator[None]:
        """Waits until the chief has begun the run."""
        self._wait("config.json", self._config_path.exists)
        yield

    def delete(self) -> None:
        """Does nothing."""

    def save_stage(
        self,
        stage: Stage,
        masks: Masks,
        weights: dict[str, np.ndarray],
        history: History | None,
    ) -> None:
        """Waits until the stage is done."""
        self._wait(str(stage), lambda: self._is_done(stage))

    def save_origin(self, weights: dict[str, np.ndarray]) -> None:
        """Waits until the origin is there."""
        self._wait("origin.npz", self.has_origin)

    def save_progress(self, stage: Stage, state: dict[str, np.ndarray]) -> None:
        """Does nothing: workers go on from the chief's checkpoint."""

    def append_metrics(self, stage: Stage, evaluation: dict[str, Any]) -> None:
        """Does nothing."""

    def forget_metrics(self, stage: Stage, after: int) -> None:
        """Does nothing."""

    def _wait(self, what: str, is_there: Callable[[], bool]) -> None:
        until = time.monotonic() + _SECONDS
        while not is_there():
            if time.monotonic() > until:
                raise RunError(
                    f"Expected the chief to write {what} to {self.path} within {_SECONDS:.0f} "
                    "seconds. Received: nothing. Start all workers again with one shared folder."
                )
            time.sleep(0.1)
