"""The run directory of a `fit`: opened when it begins, given up when it ends or fails."""

import contextlib
import pathlib
import tempfile
from collections.abc import Iterator
from typing import Any, ClassVar

import keras

from lth_tf.config import FitConfig
from lth_tf.errors import UsageError
from lth_tf.runs.provenance import provenance
from lth_tf.runs.run_dir import RunDir
from lth_tf.tickets.running_fit import check_fingerprint


class FitStorage:
    """Holds the lock of a run directory while `fit` writes to it.

    Args:
        run_dir: where tickets are recorded.
    """

    # A `fit` that was interrupted leaves its callback, and so the lock, behind.
    _writing: ClassVar[dict[pathlib.Path, contextlib.ExitStack]] = {}

    def __init__(self, run_dir: RunDir):
        self._run_dir = run_dir
        self._nothing_yet = False

    def open(
        self, config: FitConfig, data: dict[str, Any], model: keras.Model, verbose: int
    ) -> None:
        """Makes the run directory ready to be written to, by this process alone.

        Args:
            config: must be what the directory was made with.
            data: fingerprint of what is trained on; must be that of the directory.
            model: is kept there, for tools that are not told how to build it.
            verbose: 1 says if it cannot be kept.

        Raises:
            UsageError: if the directory is of another config or other data, or another
                process writes to it.
        """
        self.close()
        new = not (self._run_dir.path / "config.json").exists()
        if not new:
            check_fingerprint(self._run_dir.provenance().get("data", {}), data, self._run_dir.path)
        stack = contextlib.ExitStack()
        stack.enter_context(self._run_dir.writing(config, provenance(data=data)))
        self._writing[self._run_dir.path.resolve()] = stack
        self._nothing_yet = new
        if not self._run_dir.has_model():
            self._save_model(model, verbose)

    def keep(self) -> None:
        """Says that an epoch is recorded: from now on mistakes leave the run directory there."""
        self._nothing_yet = False

    def close(self) -> None:
        """Gives the run directory up."""
        self._nothing_yet = False
        stack = self._writing.pop(self._run_dir.path.resolve(), None)
        if stack is not None:
            stack.close()

    @contextlib.contextmanager
    def closed_by_errors(self) -> Iterator[None]:
        """Gives the run directory up if what is done inside fails.

        One that a mistake was found in before its first epoch was recorded is taken away: in
        place of the mended fit it would be refused for its config.
        """
        try:
            yield
        except UsageError:
            nothing_yet = self._nothing_yet
            self.close()
            if nothing_yet:
                self._run_dir.delete()
            raise
        except BaseException:
            self.close()
            raise

    def _save_model(self, model: keras.Model, verbose: int) -> None:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "model.keras")
            try:
                model.save(file)
            except (NotImplementedError, TypeError, ValueError) as error:
                if verbose:
                    print(
                        f"Keras cannot save this model ({' '.join(str(error).split())[:80]} ...): "
                        "tickets are recorded, but export will not know what to put them into."
                    )
                return
            self._run_dir.save_model(file.read_bytes())


def checked_seconds(checkpoint_seconds: float) -> float:
    """Returns the time between checkpoints.

    Raises:
        UsageError: if it is not at least 0.
    """
    if not checkpoint_seconds >= 0:
        raise UsageError(
            "Expected checkpoint_seconds of at least 0. "
            f"Received: checkpoint_seconds={checkpoint_seconds!r}."
        )
    return checkpoint_seconds
