"""The numbers of pruned kernels as a short string of bytes.

All kernels are written one after another, so that they can be read one after another. A
kernel's non-zero weights are stored as their values, deflated, and the gaps between them.
Gaps are Golomb-Rice coded: with b low bits a gap g is `g >> b` in unary and the rest in b
bits, where b is the kernel's own. Gaps of a random mask follow a geometric law, for which
this is within a few hundredths of a bit of the entropy; `export.saved_model.decoding` reads
it with stock TensorFlow operations.

Source:
    Golomb 1966, "Run-length encodings"; Rice & Plaunt 1971.
"""

import dataclasses
import zlib

import numpy as np

from lth_tf.errors import UsageError

from ..arrays import check_finite

BYTES = {"float32": 4, "float16": 2, "int8": 1}

_MOST_LOW_BITS = 24  # of positions, which are int32
_MOST_WEIGHTS = 2**31 - 1
_SCALES_SHARE = 0.01  # of a kernel's bytes that its scales may add


@dataclasses.dataclass(frozen=True)
class Kernel:
    """A kernel in the form that is stored.

    Attributes:
        shape: its shape.
        low_bits: low bits of a gap.
        unary: unary parts of all gaps, uint8, 8 bits a byte, lowest first.
        low: low bits of all gaps, likewise; uint8 [low_bits, bytes], the lowest first.
        numbers: uint8 [bytes a number, weights stored]: the bytes of the same significance
            together, which deflates better.
        scales: float32; weights that are as many places apart as there are scales share one.
            Where numbers are indices it is the kernel's values. Empty if there are none.
    """

    shape: tuple[int, ...]
    low_bits: int
    unary: np.ndarray
    low: np.ndarray
    numbers: np.ndarray
    scales: np.ndarray

    @property
    def count(self) -> int:
        """Weights stored."""
        return self.numbers.shape[1]

    @property
    def payload_bytes(self) -> int:
        """Bytes of positions, values and scales before anything is deflated."""
        return self.unary.size + self.low.size + self.numbers.size + self.scales.nbytes

    def parts(self) -> tuple[bytes, bytes, bytes]:
        """Returns unary, low and numbers as bytes, the last as a zlib stream."""
        return self.unary.tobytes(), self.low.tobytes(), deflated(self.numbers)


@dataclasses.dataclass(frozen=True)
class Coded:
    """Kernels in the form that is stored.

    Attributes:
        kernels: the kernels.
        numbers_are: "float32" or "float16" values; "int8" steps, each as large as the
            weight's scale; or "indices" of a kernel's values, which are its `scales`.
    """

    kernels: tuple[Kernel, ...]
    numbers_are: str

    @property
    def payload_bytes(self) -> int:
        """Bytes of positions, values and scales before anything is deflated."""
        return sum(kernel.payload_bytes for kernel in self.kernels)


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
    >>> (coded,) = encode([kernel], "float16").kernels
    >>> coded.count, coded.payload_bytes
    (2, 6)
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
    stored = [flat[position] for flat, position in zip(flats, positions, strict=True)]
    numbers_are = dtype
    if dtype != "int8" and (indexed := _indexed(stored)):
        numbers_are, (stored, scales) = "indices", indexed
    coded = map(_coded, (k.shape for k in kernels), positions, stored, scales)
    return Coded(tuple(coded), numbers_are)


def _coded(
    shape: tuple[int, ...], positions: np.ndarray, numbers: np.ndarray, scales: np.ndarray
) -> Kernel:
    gaps = np.diff(positions, prepend=-1) - 1
    low_bits = _best_low_bits(gaps)
    return Kernel(
        shape=shape,
        low_bits=low_bits,
        unary=_unary(gaps >> low_bits),
        low=_low(gaps, low_bits),
        numbers=np.ascontiguousarray(numbers.view(np.uint8).reshape(-1, numbers.itemsize).T),
        scales=scales.astype(np.float32),
    )


def deflated(array: np.ndarray) -> bytes:
    """Returns the bytes of an array as a zlib stream.

    Runs alone are looked for: values of weights repeat nothing else, and a search for it takes
    many times as long for about the same size.
    """
    stream = zlib.compressobj(9, zlib.DEFLATED, zlib.MAX_WBITS, 9, zlib.Z_RLE)
    return stream.compress(array.tobytes()) + stream.flush()


def _quantize(kernel: np.ndarray, dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns the kernel's numbers as they are stored, and its scales."""
    check_finite([kernel])
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


def _unary(quotients: np.ndarray) -> np.ndarray:
    """Returns each number as that many zeros and a one."""
    ends = np.cumsum(quotients + 1) - 1
    bits = np.zeros(int(ends[-1]) + 1 if ends.size else 0, np.uint8)
    bits[ends] = 1
    return np.packbits(bits, bitorder="little")


def _low(gaps: np.ndarray, low_bits: int) -> np.ndarray:
    bits = (gaps >> np.arange(low_bits)[:, np.newaxis]) & 1
    return np.packbits(bits.astype(np.uint8), axis=1, bitorder="little")
