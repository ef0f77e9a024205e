"""The same training in other frameworks, each by hand and in a process of its own.

LeNet-300-100, dense, batch 60, Adam, on 20,000 random images; the loss of 5,000 validation images
every 100 iterations, the accuracy of 10,000 test images every 500. A peer is a module that
calls `serve`; one whose framework is not installed says so and ends.
"""

import sys
import time
from collections.abc import Callable

import numpy as np

UNITS = (784, 300, 100, 10)
BATCH, RATE = 60, 1.2e-3
INTERVAL, TEST_EVERY = 100, 5  # iterations between validations; validations between tests
READY = "ready"

Split = tuple[np.ndarray, np.ndarray]


def splits() -> dict[str, Split]:
    """Returns "train", "validation" and "test": uint8 [examples, 784] and int32 labels."""
    random = np.random.default_rng(0)
    sizes = {"train": 20_000, "validation": 5_000, "test": 10_000}
    return {
        name: (
            random.integers(0, 256, (size, UNITS[0]), np.uint8),
            random.integers(0, UNITS[-1], size, np.int32),
        )
        for name, size in sizes.items()
    }


def initial_weights() -> list[tuple[np.ndarray, np.ndarray]]:
    """Returns kernel [inputs, units] and bias of each layer."""
    random = np.random.default_rng(1)
    return [
        (
            (random.normal(size=(one, other)) * (2 / (one + other)) ** 0.5).astype(np.float32),
            np.zeros(other, np.float32),
        )
        for one, other in zip(UNITS, UNITS[1:], strict=False)
    ]


def batches(first: int) -> np.ndarray:
    """Returns int32 [INTERVAL, BATCH]: the examples of an interval."""
    return np.random.default_rng(first).integers(0, 20_000, (INTERVAL, BATCH), np.int32)


def serve(interval: Callable[[np.ndarray, bool], None]) -> None:
    """Answers each line on stdin, a number of seconds, with iterations a second.

    Args:
        interval: makes an update a row of indices and validates; also tests if the second
            argument is True.
    """
    made = 0

    def make() -> None:
        nonlocal made
        made += 1
        interval(batches(made), made % TEST_EVERY == 0)

    for _ in range(TEST_EVERY):
        make()  # compiled
    print(READY, flush=True)
    for line in sys.stdin:
        start, first = time.perf_counter(), made
        while time.perf_counter() - start < float(line):
            make()
        print(INTERVAL * (made - first) / (time.perf_counter() - start), flush=True)
