"""Ctrl-C, SIGTERM (preemption) and SIGHUP: held back until what is trained can be kept."""

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Any

STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

_IMPATIENT = 2.0  # seconds; a terminal and a parent may both hand on the same Ctrl-C


class Stopped(KeyboardInterrupt):
    """A program was told to stop by a signal other than Ctrl-C.

    Attributes:
        number: the signal.
    """

    def __init__(self, number: int):
        super().__init__(signal.Signals(number).name)
        self.number = number


@contextlib.contextmanager
def raised() -> Iterator[None]:
    """Raises `Stopped` for SIGTERM and SIGHUP inside its block, so that files are cleaned up.

    What is ignored stays ignored, as SIGHUP under `nohup`.
    """

    def stop(number: int, _: FrameType | None) -> None:
        raise Stopped(number)

    with _handled(stop, (signal.SIGTERM, signal.SIGHUP)):
        yield


class Held:
    """Signals that came while they were held back.

    Args:
        can_wait: asked when a signal comes; False lets it have its effect at once.

    Attributes:
        arrived: the first of them, or None.
    """

    def __init__(self, can_wait: Callable[[], bool] = lambda: True) -> None:
        self._can_wait = can_wait
        self.arrived: int | None = None
        self._since = 0.0
        self._stack = contextlib.ExitStack()

    def hold(self) -> None:
        """Holds signals back from now on; a second one after a while is not."""
        self._stack.close()
        self._stack.enter_context(_handled(self._came, STOPPING))

    def release(self) -> None:
        """Lets one that has come do what it does otherwise: raise, or end the process."""
        self._stack.close()
        number, self.arrived = self.arrived, None
        if number is not None:
            signal.raise_signal(number)

    def drop(self) -> None:
        """Holds nothing back any more, and forgets one that has come."""
        self._stack.close()
        self.arrived = None

    def _came(self, number: int, _: FrameType | None) -> None:
        if self.arrived is None and not self._can_wait():
            self.drop()
            signal.raise_signal(number)
        elif self.arrived is None:
            self.arrived, self._since = number, time.monotonic()
            with contextlib.suppress(OSError):  # of a terminal that is gone
                os.write(2, b"\nStopping as soon as it can be kept; again stops at once.\n")
        elif time.monotonic() - self._since > _IMPATIENT:
            self.release()


@contextlib.contextmanager
def held_back() -> Iterator[Held]:
    """Holds Ctrl-C, SIGTERM and SIGHUP back inside its block, until its end at the latest."""
    held = Held()
    held.hold()
    try:
        yield held
    except BaseException:
        held.drop()
        raise
    held.release()


@contextlib.contextmanager
def _handled(
    handler: Callable[[int, FrameType | None], Any], numbers: tuple[int, ...]
) -> Iterator[None]:
    """Handles signals that nobody ignores; nothing outside the main thread, where Python cannot."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) not in (signal.SIG_IGN, None):
                before[number] = signal.signal(number, handler)
    try:
        yield
    finally:
        for number, old in before.items():
            signal.signal(number, old)
