"""Updates and evaluations of what is left of a network, many in one compiled call.

Units of all layers are numbered through. Batches are taken WIDTH examples at a time; what is
missing to a multiple has no gradient.
"""

import functools
import hashlib
import math
import os
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numba
import numpy as np

from lth_tf.training.sparse import vectors
from lth_tf.training.sparse.vectors import (
    LANES,
    WIDTH,
    backward_piece,
    forward_piece,
    load_tile,
)

_ONE, _WIDTH, _TILE = np.uint64(1), np.uint64(WIDTH), np.uint64(LANES * WIDTH)
_ZERO = np.float32(0)


class Layout(NamedTuple):
    """Where the weights of what is left are, and what they read.

    The weights of a unit come in pieces, so that those of all units that read the same
    inputs can be gone through while these are in the nearest cache.

    Attributes:
        tiles: uint64 [tiles]: the first of LANES input features that are read.
        place: where the activations of the first unit begin.
        units: how many there are.
        classes: how many of them, the last ones, are the outputs.
        unit: uint64 [pieces]: whose weights they are.
        first: uint64 [pieces + 1]: the first weight of each piece.
        source: uint64 [weights]: where the activations begin that a weight is multiplied by.
        begins: bool [pieces]: whether it is a unit's first piece.
        cuts: bool [pieces]: whether it is a unit's last piece, and negative sums become 0.
        relu: bool [pieces]: whether negative sums of the unit become 0.
        below: bool [pieces]: whether what it reads needs gradients.
        biased: bool [pieces]: whether it is the first of a unit with a bias.
    """

    tiles: np.ndarray
    place: np.uint64
    units: np.uint64
    classes: np.uint64
    unit: np.ndarray
    first: np.ndarray
    source: np.ndarray
    begins: np.ndarray
    cuts: np.ndarray
    relu: np.ndarray
    below: np.ndarray
    biased: np.ndarray


class Data(NamedTuple):
    """Examples as they are stored.

    Attributes:
        inputs: uint8 or float32 [examples * size], one example after the other.
        size: features of an example, a multiple of LANES.
        labels: int32 [examples].
        scale: float32 that inputs are multiplied by.
    """

    inputs: np.ndarray
    size: np.uint64
    labels: np.ndarray
    scale: np.float32


class Rule(NamedTuple):
    """How weights are updated.

    Attributes:
        adam: Adam, else stochastic gradient descent with momentum.
        momentum: float32; of the latter.
        decay: float32: times a kernel's weights is added to its gradient.
    """

    adam: bool
    momentum: np.float32
    decay: np.float32


class State(NamedTuple):
    """What an update changes: float32 [weights + other weights + units].

    Attributes:
        value: weights, other weights that only weight decay moves, and biases.
        first_moment: of Adam, or the momentum's velocity.
        second_moment: of Adam, else empty.
        gradient: room.
    """

    value: np.ndarray
    first_moment: np.ndarray
    second_moment: np.ndarray
    gradient: np.ndarray


class Room(NamedTuple):
    """Room for a block of examples.

    Attributes:
        activation: float32 [(tiles * LANES + units) * WIDTH] of features and units.
        upstream: the same of their gradients.
        starts: uint64 [LANES]: where the examples of a tile begin.
    """

    activation: np.ndarray
    upstream: np.ndarray
    starts: np.ndarray


_CONFIG: Any = numba.config  # its fields are made while it is imported


def _compiled(**options: Any) -> Callable:
    """Returns numba's decorator; what it compiles is kept on the disk if that can be written to."""
    return functools.partial(_compile, {"nogil": True, "error_model": "numpy", **options})


def _compile(options: dict[str, Any], function: Callable) -> Callable:
    # numba only sees when the function's own file has changed.
    folder = _CONFIG.CACHE_DIR
    _CONFIG.CACHE_DIR = str(_cache_folder())
    try:
        return numba.njit(cache=True, **options)(function)
    except RuntimeError:  # it cannot write there
        return numba.njit(**options)(function)
    finally:
        _CONFIG.CACHE_DIR = folder


@functools.cache
def _cache_folder() -> pathlib.Path:
    """Returns a folder for what these very sources become."""
    sources = [pathlib.Path(file).read_bytes() for file in (__file__, vectors.__file__)]
    digest = hashlib.sha256(b"".join(sources)).hexdigest()[:16]
    home = _CONFIG.CACHE_DIR or os.environ.get("XDG_CACHE_HOME") or "~/.cache"
    return pathlib.Path(home, "lth_tf", digest).expanduser()


@_compiled()
def _biases(layout, value):
    """Returns the index of the first bias."""
    return np.uint64(len(value)) - layout.units


@_compiled()
def _load(layout, data, rows, room):
    """Puts a block of examples into the activations, features first."""
    count = len(rows)
    for start in range(0, count, LANES):
        for i in range(LANES):
            # What is missing to a whole tile has no gradient, and may be anything.
            row = rows[min(start + i, count - 1)]
            room.starts[i] = np.uint64(row) * data.size
        at = np.uint64(start)
        for tile in layout.tiles:
            load_tile(data.inputs, room.starts, tile, data.scale, room.activation, at)
            at += _TILE


@_compiled()
def _forward(layout, value, room):
    """Computes the activations of all units."""
    biases = _biases(layout, value)
    for piece in range(np.uint64(len(layout.unit))):
        unit = layout.unit[piece]
        forward_piece(
            room.activation,
            layout.place + unit * _WIDTH,
            layout.source,
            value,
            layout.first[piece],
            layout.first[piece + _ONE],
            value[biases + unit],
            layout.begins[piece],
            layout.cuts[piece],
        )


@_compiled()
def _backward(layout, state, room):
    """Adds the gradients of a block, whose last layer has its own in `room.upstream`."""
    value, gradient = state.value, state.gradient
    biases = _biases(layout, value)
    for back in range(np.uint64(len(layout.unit))):
        piece = np.uint64(len(layout.unit)) - _ONE - back
        unit = layout.unit[piece]
        slope = backward_piece(
            room.activation,
            room.upstream,
            layout.place + unit * _WIDTH,
            layout.source,
            value,
            gradient,
            layout.first[piece],
            layout.first[piece + _ONE],
            layout.relu[piece],
            layout.below[piece],
        )
        if layout.biased[piece]:
            gradient[biases + unit] += slope


@_compiled()
def _loss(layout, labels, rows, share, room):
    """Returns a block's summed cross-entropy; puts its gradient times `share` into the room."""
    logits, slopes, classes = room.activation, room.upstream, layout.classes
    at = layout.place + (layout.units - classes) * _WIDTH
    total = _ZERO
    for b in range(np.uint64(len(rows))):
        largest = logits[at + b]
        for c in range(classes):
            logit = logits[at + c * _WIDTH + b]
            largest = largest if logit <= largest else logit
        exponentials = _ZERO
        for c in range(classes):
            place = at + c * _WIDTH + b
            slopes[place] = math.exp(logits[place] - largest)
            exponentials += slopes[place]
        own = at + np.uint64(labels[rows[b]]) * _WIDTH + b
        total += math.log(exponentials) + largest - logits[own]
        for c in range(classes):
            slopes[at + c * _WIDTH + b] *= share / exponentials
        slopes[own] -= share
    for c in range(classes):
        for b in range(np.uint64(len(rows)), _WIDTH):
            slopes[at + c * _WIDTH + b] = _ZERO
    return total


@_compiled()
def _predict(layout, labels, rows, room, correct):
    """Says of each example of a block whether its label has the largest logit."""
    logits, classes = room.activation, layout.classes
    at = layout.place + (layout.units - classes) * _WIDTH
    for b in range(np.uint64(len(rows))):
        best = np.uint64(0)
        for c in range(classes):
            if logits[at + c * _WIDTH + b] > logits[at + best * _WIDTH + b]:
                best = c
        correct[rows[b]] = best == np.uint64(labels[rows[b]])


@_compiled(fastmath={"contract", "nsz"})
def _update(layout, rule, state, rate):
    """Makes an update of all weights and biases by their gradients."""
    value, gradient = state.value, state.gradient
    first, second = state.first_moment, state.second_moment
    if rule.decay > 0:
        for i in range(_biases(layout, value)):
            gradient[i] += rule.decay * value[i]
    if rule.adam:
        for i in range(len(value)):
            first[i] += (gradient[i] - first[i]) * np.float32(0.1)
            second[i] += (gradient[i] * gradient[i] - second[i]) * np.float32(0.001)
            value[i] -= rate * first[i] / (math.sqrt(second[i]) + np.float32(1e-7))
    else:
        for i in range(len(value)):
            first[i] = rule.momentum * first[i] - rate * gradient[i]
            value[i] += first[i]


@_compiled()
def train(layout, data, rule, state, room, order, rates):
    """Makes one update for each row of `order`.

    Args:
        layout: what is left of the network.
        data: training examples.
        rule: how weights are updated.
        state: changed in place.
        room: for a block of examples.
        order: int32 [updates, batch size]: indices of examples.
        rates: float32 [updates]: step sizes.

    Returns:
        Sum of the losses; index of the first update whose loss is not finite, or -1.
    """
    batch = order.shape[1]
    share = np.float32(1) / np.float32(batch)
    total, bad = _ZERO, -1
    for i in range(len(order)):
        loss = _ZERO
        state.gradient[:] = _ZERO
        for start in range(0, batch, WIDTH):
            rows = order[i, start : min(start + WIDTH, batch)]
            _load(layout, data, rows, room)
            _forward(layout, state.value, room)
            room.upstream[layout.place :] = _ZERO
            loss += _loss(layout, data.labels, rows, share, room)
            _backward(layout, state, room)
        loss *= share
        _update(layout, rule, state, rates[i])
        if bad < 0 and not math.isfinite(loss):
            bad = i
        total += loss
    return total, bad


@_compiled()
def evaluate(layout, data, value, room, correct):
    """Returns the summed cross-entropy of all examples.

    Args:
        layout: what is left of the network.
        data: the examples.
        value: weights and biases.
        room: for a block of examples.
        correct: bool [examples]; becomes whether each label is predicted.
    """
    total = 0.0
    for start in range(0, len(data.labels), WIDTH):
        rows = np.arange(start, min(start + WIDTH, len(data.labels)))
        _load(layout, data, rows, room)
        _forward(layout, value, room)
        total += _loss(layout, data.labels, rows, np.float32(1), room)
        _predict(layout, data.labels, rows, room, correct)
    return total
