"""A process takes cores for itself: trainings side by side do not fight for the same ones."""

import contextlib
import os
import pathlib
import random
import tempfile
from typing import IO

from lth_tf.locks import try_lock

_held: list[IO[str]] = []


def take(count: int) -> None:
    """Keeps this process, for as long as it lives, on so many cores that no other has taken.

    Threads that are there already stay where they are, so it comes before TensorFlow. Where fewer
    are free, others are shared: a training's number of threads, which convolutions' last bits
    depend on, does not depend on what else runs.

    Args:
        count: cores; all of them if there are fewer.
    """
    if _held:
        return
    folder = pathlib.Path(tempfile.gettempdir(), f"lth_tf_cores_{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    available = sorted(os.sched_getaffinity(0))
    taken: list[int] = []
    with contextlib.ExitStack() as stack:
        for core in available:
            if len(taken) == count:
                break
            file = open(folder / str(core), "a")
            if try_lock(file.fileno()):
                _held.append(file)
                taken.append(core)
            else:
                stack.push(file)
    others = [core for core in available if core not in taken]
    missing = min(count - len(taken), len(others))
    os.sched_setaffinity(0, {*taken, *random.sample(others, missing)})
