"""One seed, many independent streams of random numbers.

Everything random in an experiment belongs to a named stream: "split", "init",
"order", "augment", "dropout", "prune", "reinit_0/3/init", ... A stream is a function
of the seed and its name alone, so adding one changes no other, and a run that
stops and continues draws what an uninterrupted one draws.
"""

import hashlib

import numpy as np


def stream_seed(seed: int, *names: str | int) -> int:
    """Returns the seed of a named stream.

    Args:
        seed: the experiment's seed.
        *names: the stream's name, in parts.

    Returns:
        An int in [0, 2**31), valid for numpy, Keras and TensorFlow.

    Example:
    >>> stream_seed(0, "init") == stream_seed(0, "init")
    True
    >>> stream_seed(0, "init") == stream_seed(0, "order")
    False
    """
    text = "/".join(map(str, (seed, *names)))
    return int.from_bytes(hashlib.sha256(text.encode()).digest()[:4], "big") >> 1


def generator(seed: int, *names: str | int) -> np.random.Generator:
    """Returns a numpy generator at the start of a named stream."""
    return np.random.default_rng(stream_seed(seed, *names))


class BatchOrder:
    """Which examples make up the batch of each iteration.

    The examples are reshuffled each epoch (paper, section 2); a batch may span
    two epochs, so every example is seen equally often whatever the batch size.

    Args:
        examples: number of training examples.
        batch_size: examples a batch.
        seed: seed of the order's stream.

    Example:
    >>> order = BatchOrder(examples=4, batch_size=3, seed=0)
    >>> sorted(order.indices(0, 4).ravel()[:4].tolist())
    [0, 1, 2, 3]
    """

    def __init__(self, examples: int, batch_size: int, seed: int):
        self._examples = examples
        self._batch_size = batch_size
        self._seed = seed
        self._epochs: dict[int, np.ndarray] = {}

    def indices(self, start: int, count: int) -> np.ndarray:
        """Returns int32 [count, batch_size]: the batches from iteration `start`."""
        positions = np.arange(
            start * self._batch_size, (start + count) * self._batch_size, dtype=np.int64
        )
        epochs, offsets = np.divmod(positions, self._examples)
        result = np.empty(positions.size, np.int32)
        for epoch in np.unique(epochs):
            here = epochs == epoch
            result[here] = self._permutation(int(epoch))[offsets[here]]
        return result.reshape(count, self._batch_size)

    def _permutation(self, epoch: int) -> np.ndarray:
        if epoch not in self._epochs:
            self._epochs = {e: p for e, p in self._epochs.items() if e == epoch - 1}
            permutation = generator(self._seed, "epoch", epoch).permutation(self._examples)
            self._epochs[epoch] = permutation.astype(np.int32)
        return self._epochs[epoch]
