"""What a model decides, read from its outputs, and how often a file decides the same.

A class where it scores several, yes or no where it scores one thing or each thing for itself,
nothing where it predicts numbers.
"""

import enum

import numpy as np

from .arrays import Arrays

_TIE = 1e-4  # of the range of outputs: closer scores than this are no decision


class Kind(enum.Enum):
    """What the numbers of an output are."""

    CLASSES = "scores of classes, along the last axis"
    PROBABILITIES = "probabilities, each for itself"
    SCORES = "scores, yes if positive"
    IDENTITIES = "whole numbers or text"
    NUMBERS = "numbers to predict"


def kind_of(outputs: np.ndarray, inputs: Arrays) -> Kind:
    """Returns what an output of a model is, by its values and its shape.

    Args:
        outputs: what the model computes, [n, ...].
        inputs: from what.
    """
    if outputs.dtype.kind != "f":
        return Kind.IDENTITIES
    shares = bool(((outputs >= 0) & (outputs <= 1)).all())
    if outputs.ndim == 1 or outputs.shape[-1] == 1:
        return Kind.PROBABILITIES if shares else Kind.SCORES
    if shares:
        whole = np.allclose(outputs.sum(-1), 1, atol=1e-2)
        return Kind.CLASSES if whole else Kind.PROBABILITIES
    image = outputs.ndim > 2 and any(outputs.shape == array.shape for array in inputs.values())
    return Kind.NUMBERS if image else Kind.CLASSES


def decide(outputs: np.ndarray, kind: Kind) -> np.ndarray | None:
    """Returns the decisions, or None if there are none."""
    if kind is Kind.NUMBERS:
        return None
    if kind is Kind.CLASSES:
        return outputs.argmax(-1)
    if kind is Kind.IDENTITIES:
        return outputs
    return outputs > (0.5 if kind is Kind.PROBABILITIES else 0.0)


def agreement(expected: np.ndarray, found: np.ndarray, kind: Kind) -> float | None:
    """Returns the fraction of the decisions in `expected` that `found` shares.

    A decision between scores that are equal up to rounding is shared in any case.

    Example:
    >>> expected, found = np.array([[0.9], [0.2], [0.6]]), np.array([[0.8], [0.1], [0.4]])
    >>> round(agreement(expected, found, Kind.PROBABILITIES), 3)
    0.667
    """
    one, other = decide(expected, kind), decide(found, kind)
    if one is None or other is None:
        return None
    same = one == other
    if kind is not Kind.IDENTITIES:
        same |= _margins(expected, kind) <= _TIE * np.abs(expected).max(initial=0)
    return float(np.mean(same))


def _margins(outputs: np.ndarray, kind: Kind) -> np.ndarray:
    """Returns how far each decision is from another one."""
    if kind is Kind.CLASSES:
        ordered = np.partition(outputs, -2, axis=-1)
        return ordered[..., -1] - ordered[..., -2]
    return np.abs(outputs - (0.5 if kind is Kind.PROBABILITIES else 0.0))
