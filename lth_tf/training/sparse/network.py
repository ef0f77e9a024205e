"""What is left of a network of dense layers, piece by piece."""

import dataclasses
import math

import numpy as np

from lth_tf.training.sparse.kernels import Layout, Room
from lth_tf.training.sparse.vectors import LANES, WIDTH

# Activations of so many features fit the nearest cache beside what else is there.
_NEAR = 64
# So many weights a piece are worth going through a unit's activations once more.
_PIECE = 8


@dataclasses.dataclass(frozen=True)
class DenseLayer:
    """A dense layer, as it is stored.

    Attributes:
        mask: uint8 [inputs, units]; 1 keeps.
        relu: whether negative sums become 0.
        biased: whether there are biases.
    """

    mask: np.ndarray
    relu: bool
    biased: bool


@dataclasses.dataclass(frozen=True)
class Remaining:
    """The weights of dense layers that are left, in the order in which they are gone through.

    A unit that nothing reads does not change the outputs and has no gradient: neither it nor
    what only it reads is computed. A unit that reads nothing is its bias.

    Attributes:
        layout: what is computed.
        weights: for each layer, int64 [weights]: which of its kernel, flattened.
        others: the same of the weights that are left but change no output.
        units: for each layer, int64 [units]: those that are computed.
    """

    layout: Layout
    weights: list[np.ndarray]
    others: list[np.ndarray]
    units: list[np.ndarray]

    def room(self) -> Room:
        """Returns room for a block of examples."""
        size = int(self.layout.place) + int(self.layout.units) * WIDTH
        return Room(_aligned(size), _aligned(size), np.zeros(LANES, np.uint64))


def remaining(layers: list[DenseLayer]) -> Remaining:
    """Returns what is left of layers, the last being the outputs."""
    masks = [layer.mask.astype(bool) for layer in layers]
    live = [np.ones(masks[-1].shape[1], bool)]
    for mask in reversed(masks):
        live.insert(0, mask[:, live[0]].any(axis=1))
    tiles = np.unique(np.flatnonzero(live[0]) // LANES) * LANES
    numbers = np.zeros(padded(len(live[0])), np.int64)  # of features and units, layer by layer
    numbers[(tiles[:, np.newaxis] + np.arange(LANES)).ravel()] = np.arange(len(tiles) * LANES)
    place = known = len(tiles) * LANES
    columns: dict[str, list[np.ndarray]] = {name: [] for name in _COLUMNS}
    weights, others, units = [], [], []
    for depth, (layer, mask) in enumerate(zip(layers, masks, strict=True)):
        computed = np.flatnonzero(live[depth + 1])
        pieces, entries = _pieces(mask[:, computed])
        rows, unit = entries // len(computed), entries % len(computed)
        weights.append(rows * mask.shape[1] + computed[unit])
        others.append(np.flatnonzero(mask & ~live[depth + 1]))
        units.append(computed)
        pieces["source"] = numbers[rows] * WIDTH
        pieces["relu"] = np.full(len(pieces["unit"]), layer.relu)
        pieces["cuts"] = pieces.pop("ends") & layer.relu
        pieces["biased"] = pieces["begins"] & layer.biased
        pieces["below"] = np.full(len(pieces["unit"]), depth > 0)
        numbers = np.zeros(mask.shape[1], np.int64)
        numbers[computed] = known + np.arange(len(computed))
        pieces["unit"] = pieces["unit"] + known - place
        known += len(computed)
        for name, column in pieces.items():
            columns[name].append(column)
    joined = {name: np.concatenate(parts) for name, parts in columns.items()}
    first = np.concatenate([[0], np.cumsum(joined.pop("count"))])
    layout = Layout(
        tiles=tiles.astype(np.uint64),
        place=np.uint64(place * WIDTH),
        units=np.uint64(known - place),
        classes=np.uint64(len(units[-1])),
        unit=joined.pop("unit").astype(np.uint64),
        first=first.astype(np.uint64),
        source=joined.pop("source").astype(np.uint64),
        **joined,
    )
    return Remaining(layout, weights, others, units)


def padded(features: int) -> int:
    """Returns the next multiple of LANES."""
    return -(-features // LANES) * LANES


_COLUMNS = ("unit", "count", "source", "begins", "cuts", "relu", "below", "biased")


def _pieces(mask: np.ndarray) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """Returns the pieces of a layer, and its weights in their order.

    Args:
        mask: bool [inputs, units].

    Returns:
        "unit", "count" of weights, "begins" and "ends" of the pieces, in order; int64
        [weights]: indices of the flattened mask.
    """
    inputs, units = mask.shape
    read = mask.any(axis=1)
    density = np.count_nonzero(mask) / max(1, np.count_nonzero(read) * units)
    width = max(_NEAR, math.ceil(_PIECE / max(density, 1 / inputs)))
    entries = np.flatnonzero(mask)
    rows, columns = np.divmod(entries, units)
    keys = (np.cumsum(read) - 1)[rows] // width * units + columns
    order = np.argsort(keys, kind="stable")
    without = np.flatnonzero(~mask.any(axis=0))
    pieces, counts = np.unique(np.concatenate([keys, without]), return_counts=True)
    counts[np.isin(pieces, without)] = 0
    unit = pieces % units
    begins, ends = np.zeros(len(unit), bool), np.zeros(len(unit), bool)
    begins[np.unique(unit, return_index=True)[1]] = True
    ends[len(unit) - 1 - np.unique(unit[::-1], return_index=True)[1]] = True
    return {"unit": unit, "count": counts, "begins": begins, "ends": ends}, entries[order]


def _aligned(size: int) -> np.ndarray:
    """Returns float32 zeros that begin where a line of the cache does."""
    room = np.zeros(size + 16, np.float32)
    start = -room.ctypes.data % 64 // 4
    return room[start : start + size]
