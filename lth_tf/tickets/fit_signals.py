"""Ctrl-C, SIGTERM and SIGHUP during `model.fit`."""

import time

import keras

from lth_tf.signals import Held
from lth_tf.tickets.running_fit import running_fit

# A preempted process has about 30 seconds; a checkpoint takes some of them.
_LONGEST_WAIT = 20.0


class EpochSignals:
    """Holds signals back until an epoch ends, where a level can be kept, if epochs are short.

    Where they are long every one of them was kept in a checkpoint, so the signal
    has its effect at once; so it has outside of `fit`.
    """

    def __init__(self) -> None:
        self._model: keras.Model | None = None
        self._held = Held(self._can_wait)
        self._began = 0.0
        self._epoch_seconds: float | None = None

    @property
    def arrived(self) -> bool:
        """Whether a signal is held back."""
        return self._held.arrived is not None

    def epoch_begins(self, model: keras.Model) -> None:
        """Holds signals back from now on."""
        self._model, self._began = model, time.monotonic()
        self._held.hold()

    def epoch_ended(self, kept: str) -> None:
        """Lets a signal that has come have its effect.

        Args:
            kept: what is on the disk, to be said.
        """
        self._epoch_seconds = time.monotonic() - self._began
        if self.arrived:
            print(f"\nKept: {kept}. The same fit goes on from there.", flush=True)
        self._held.release()

    def _can_wait(self) -> bool:
        return (
            self._epoch_seconds is not None
            and self._epoch_seconds <= _LONGEST_WAIT
            and bool(running_fit(self._model))
        )
