"""The manual that every Python carries for its `help()`: text that needs no download."""

import pydoc_data.topics
from collections.abc import Sequence

import numpy as np

from lth_tf.datasets import Source, Split, register

ALPHABET = " \nabcdefghijklmnopqrstuvwxyz0123456789.,:;!?'\"`()[]{}<>=+-*/%_\\|&^~@#$"
_WINDOW = 64


@register("manual")
def manual(image_shape: tuple[int, ...]) -> Source:
    """Returns the language reference cut into windows, every tenth topic to test.

    Inputs are characters, int32 [length], and labels those that follow each of them. How much
    text there is depends on the Python: 465,000 characters in 3.11.

    Args:
        image_shape: the length of a window, 64 for networks that are made for images.
    """
    window = image_shape[0] if len(image_shape) == 1 else _WINDOW
    texts = topics()
    test = windows(texts[9::10], window)
    train = windows([text for i, text in enumerate(texts) if i % 10 != 9], window)
    return Source(
        train=Split(*train),
        test=Split(*test),
        classes=len(ALPHABET) + 1,
        validation_size=len(test[0]),
    )


def topics() -> list[str]:
    """Returns the texts of the manual in the order of their names."""
    return [text for _, text in sorted(pydoc_data.topics.topics.items())]


def encode(text: str) -> np.ndarray:
    r"""Returns a text's characters as numbers, int32; 0 is any that is not in ALPHABET.

    Example:
    >>> encode("A \u20ac")
    array([3, 1, 0], dtype=int32)
    """
    return np.array([ALPHABET.find(char) + 1 for char in text.lower()], np.int32)


def windows(texts: Sequence[str], window: int) -> tuple[np.ndarray, np.ndarray]:
    """Returns texts as characters and those that follow, int32 [n, window].

    Args:
        texts: one after the other; what does not fill a window is left out.
        window: characters of an example.

    Example:
    >>> [part.tolist() for part in windows(["abc", "de"], 2)]
    [[[3, 4], [5, 6]], [[4, 5], [6, 7]]]
    """
    characters = np.concatenate([encode(text) for text in texts])
    count = (len(characters) - 1) // window
    inputs, following = characters[: count * window], characters[1 : count * window + 1]
    return inputs.reshape(count, window), following.reshape(count, window)
