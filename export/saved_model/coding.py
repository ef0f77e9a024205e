"""The numbers of pruned kernels as a few short byte strings.

All kernels are written one after another. A kernel's non-zero weights are stored
as their values and the gaps between them. Gaps are Golomb-Rice coded: with b low
bits a gap g is `g >> b` in unary and the rest in b bits, where b is the kernel's
own. Gaps of a random mask follow a geometric law, for which this is within a few
hundredths of a bit of the entropy; `export.decoding` reads it with stock
TensorFlow operations.

Source:
    Golomb 1966, "Run-length encodings"; Rice & Plaunt 1971.
"""

import dataclasses
import zlib

import numpy as np

from lth_tf.errors import UsageError

BYTES = {"float32": 4, "float16": 2, "int8": 1}

_MOST_LOW_BITS = 24  # they are read through a window of 32 bits, up to 7 bits off
_MOST_WEIGHTS = 2**31 - 1  # positions are int32
_SCALES_SHARE = 0.01  # of a kernel's bytes that its scales may add


@dataclasses.dataclass(frozen=True)
class Table:
    """What the decoder must know of each kernel, int32 [kernels] each unless said otherwise.

    Attributes:
        counts: weights stored.
        low_bits: low bits of a gap.
        unary_starts: byte at which the kernel's unary parts begin; [kernels + 1], with the end.
        low_starts: byte at which its low bits begin.
        first_numbers: place of its first number.
        periods: weights of a kernel that are `periods` apart share a scale.
        first_scales: index of the kernel's first scale, or of its first value.
    """

    counts: np.ndarray
    low_bits: np.ndarray
    unary_starts: np.ndarray
    low_starts: np.ndarray
    first_numbers: np.ndarray
    periods: np.ndarray
    first_scales: np.ndarray


@dataclasses.dataclass(frozen=True)
class Coded:
    """Kernels in the form that is stored.

    Attributes:
        shapes: shape of each kernel.
        numbers_are: "float32" or "float16" values; "int8" steps, each as large as the
            weight's scale; or "indices" of a kernel's values, which stand in `scales`.
        table: what the decoder must know of each kernel.
        unary: unary parts of all gaps, uint8, 8 bits a byte, lowest first; a kernel begins
            with a byte.
        low: low bits of all gaps, likewise, and 4 bytes of padding.
        numbers: uint8 [bytes a number, weights stored]: the bytes of the same
            significance together, which deflates better.
        scales: float32; empty if there are none.
    """

    shapes: tuple[tuple[int, ...], ...]
    numbers_are: str
    table: Table
    unary: np.ndarray
    low: np.ndarray
    numbers: np.ndarray
    scales: np.ndarray

    @property
    def payload_bytes(self) -> int:
        """Bytes of positions, values and scales before anything is deflated."""
        return self.unary.size + self.low.size + self.numbers.size + self.scales.nbytes


def encode(kernels: list[np.ndarray], dtype: str) -> Coded:
    """Codes the non-zero weights of kernels.

    Args:
        kernels: float32 arrays, any shapes; the last axis is that of the units.
        dtype: "float32" keeps the weights exactly, "float16" rounds them, "int8"
            stores them in 255 equal steps, per unit where that costs little.

    Raises:
        UsageError: if a weight is not finite, too large for float16, or there are
            2**31 weights or more.

    Example:
    >>> kernel = np.array([[0, 2, 0], [0, 0, -1]], np.float32)
    >>> encode([kernel], "float16").numbers.view(np.uint8).shape
    (2, 2)
    """
    quantized = [_quantize(kernel, dtype) for kernel in kernels]
    flats = [number.ravel() for number, _ in quantized]
    scales = [scale for _, scale in quantized]
    if sum(flat.size for flat in flats) > _MOST_WEIGHTS:
        raise UsageError(
            f"Expected fewer than 2**31 weights in kernels. "
            f"Received: {sum(flat.size for flat in flats)}."
        )
    positions = [np.flatnonzero(flat) for flat in flats]
    gaps = [np.diff(position, prepend=-1) - 1 for position in positions]
    low_bits = [_best_low_bits(gap) for gap in gaps]
    stored = [flat[position] for flat, position in zip(flats, positions, strict=True)]
    numbers_are = dtype
    if dtype != "int8" and (indexed := _indexed(stored)):
        numbers_are, (stored, scales) = "indices", indexed
    numbers = np.concatenate(stored)
    unary = [_unary(gap >> bits) for gap, bits in zip(gaps, low_bits, strict=True)]
    low = [_low(gap, bits) for gap, bits in zip(gaps, low_bits, strict=True)]
    rows = {
        "counts": [gap.size for gap in gaps],
        "low_bits": low_bits,
        "unary_starts": np.cumsum([0, *(part.size for part in unary)]),
        "low_starts": _sums_before([part.size for part in low]),
        "first_numbers": _sums_before([gap.size for gap in gaps]),
        "periods": [max(1, scale.size) for scale in scales],
        "first_scales": _sums_before([scale.size for scale in scales]),
    }
    return Coded(
        shapes=tuple(kernel.shape for kernel in kernels),
        numbers_are=numbers_are,
        table=Table(**{name: np.asarray(row, np.int32) for name, row in rows.items()}),
        unary=np.concatenate(unary),
        low=np.concatenate([*low, np.zeros(4, np.uint8)]),
        numbers=np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, numbers.itemsize).T),
        scales=np.concatenate(scales).astype(np.float32),
    )


def deflated(array: np.ndarray) -> bytes:
    """Returns the bytes of an array as a zlib stream."""
    return zlib.compress(array.tobytes(), 9)


def _quantize(kernel: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel's numbers as they are stored, and its scales."""
    if not np.isfinite(kernel).all():
        raise UsageError(
            f"Expected finite weights. Received: NaN or infinity in a kernel of shape "
            f"{kernel.shape}. The network did not train well."
        )
    no_scales = np.zeros(0, np.float32)
    if dtype == "float32":
        return kernel.astype("<f4"), no_scales
    if dtype == "float16":
        largest = float(np.abs(kernel).max(initial=0))
        if largest > float(np.finfo(np.float16).max):
            raise UsageError(
                f"Expected weights that float16 can hold. Received: one of size {largest:g}. "
                "Use dtype='float32' or 'int8'."
            )
        return kernel.astype("<f2"), no_scales
    scales = _scales(kernel)
    steps = np.rint(kernel.reshape(-1, scales.size) / scales)
    return np.clip(steps, -127, 127).astype(np.int8), scales


def _scales(kernel: np.ndarray) -> np.ndarray:
    """Returns the sizes of a step: one a unit, or a single one where they cost too much."""
    channels = kernel.shape[-1]
    per_channel = 4 * channels <= _SCALES_SHARE * np.count_nonzero(kernel)
    rows = kernel.reshape(-1, channels if per_channel else 1)
    scales = np.abs(rows).max(axis=0, initial=0).astype(np.float32) / np.float32(127)
    return np.where(scales > 0, scales, np.float32(1))


def _indexed(stored: list[np.ndarray]) -> tuple[list[np.ndarray], list[np.ndarray]] | None:
    """Returns indices and values of kernels with few values each, as clustered ones have."""
    values, indices = zip(
        *(np.unique(kernel, return_inverse=True) for kernel in stored), strict=True
    )
    if max(kernel.size for kernel in values) > 256:
        return None
    saved = sum(
        index.size * (kernel.itemsize - 1) for index, kernel in zip(indices, stored, strict=True)
    )
    if 4 * sum(kernel.size for kernel in values) >= saved:
        return None
    return [index.astype(np.uint8) for index in indices], list(values)


def _best_low_bits(gaps: np.ndarray) -> int:
    sizes = [gaps.size * b + int((gaps >> b).sum()) for b in range(_MOST_LOW_BITS + 1)]
    return int(np.argmin(sizes))


def _sums_before(sizes: list[int]) -> np.ndarray:
    return np.cumsum([0, *sizes])[:-1]


def _unary(quotients: np.ndarray) -> np.ndarray:
    """Returns each number as that many zeros and a one."""
    ends = np.cumsum(quotients + 1) - 1
    bits = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.uint8)
    bits[ends] = 1
    return np.packbits(bits, bitorder="little")


def _low(gaps: np.ndarray, low_bits: int) -> np.ndarray:
    bits = (gaps[:, np.newaxis] >> np.arange(low_bits)) & 1
    return np.packbits(bits.astype(np.uint8).ravel(), bitorder="little")
