"""How small a file is, and how small it could be."""

import dataclasses
import gzip
import io
import math
import os
import pathlib
import tarfile

import keras
import numpy as np
from keras.ops import convert_to_numpy as to_numpy

from .formats.base import Stored
from .renamed import renamed_argument
from .saved_model.coding import BYTES

_KERNEL_TYPES = ("float32", "float16", "bfloat16")
_NOT_KERNELS = ("bias", "gamma", "beta", "scale", "alpha")


@dataclasses.dataclass(frozen=True)
class SizeReport:
    """Sizes of a file, in bytes.

    Attributes:
        bytes: the file, or all files of a folder.
        dense_bytes: what it is compared to: the same without pruning.
        limit: the information in the remaining weights, see `information_limit`.
        gzip_bytes: the file after gzip; a folder as .tar.gz.
        dense_gzip_bytes: the same of what it is compared to; None if that is no file.
    """

    bytes: int
    dense_bytes: int
    limit: float
    gzip_bytes: int
    dense_gzip_bytes: int | None = None

    @property
    def ratio(self) -> float:
        """How many times smaller than dense."""
        return self.dense_bytes / self.bytes

    @property
    def ratio_to_limit(self) -> float:
        """How many times larger than the information limit."""
        return self.bytes / self.limit


@renamed_argument("values", "dtype")
def size_report(
    path: str | os.PathLike,
    model: keras.Model,
    dtype: str = "float32",
    dense_bytes: int | None = None,
    dense_path: str | os.PathLike | None = None,
) -> SizeReport:
    """Returns the sizes of a file that was made from a model.

    Args:
        path: a file or a SavedModel folder.
        model: the model without masks that is in it.
        dtype: what the kernels' weights are stored as.
        dense_bytes: size of the dense file to compare to; by default the bytes of
            all weights of `model` as float32.
        dense_path: the dense file itself, in place of its size: then it is zipped too, as an
            app package is.

    Example::

        report = export.size_report("ticket.tflite", model)
        print(f"{report.ratio:.1f} times smaller, {report.ratio_to_limit:.2f} x the limit")
    """
    if dense_path is not None:
        dense_bytes = bytes_on_disk(dense_path)
    weights = sum(int(np.prod(variable.shape)) for variable in model.variables)
    return SizeReport(
        bytes=bytes_on_disk(path),
        dense_bytes=4 * weights if dense_bytes is None else dense_bytes,
        limit=information_limit(model, dtype),
        gzip_bytes=_gzip_bytes(pathlib.Path(path)),
        dense_gzip_bytes=None if dense_path is None else _gzip_bytes(pathlib.Path(dense_path)),
    )


@renamed_argument("values", "dtype")
def information_limit(model: keras.Model, dtype: str = "float32") -> float:
    """Returns the bytes that no code can go below which does not know the weights.

    A kernel of N weights, n of them not 0, needs n times the bytes of a value and
    N H(n / N) / 8 bytes for their places, H being the binary entropy in bits. Every
    other number takes 4 bytes. Values count as incompressible, so a file whose
    values are compressed can be a little smaller.

    Args:
        model: a model without masks.
        dtype: what the kernels' weights are stored as.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(4, use_bias=False)])
    >>> model.set_weights([np.eye(4)])
    >>> round(information_limit(model), 1)  # 4 values of 4 bytes, 16 * 0.811 bits
    17.6
    """
    coded = {id(variable) for variable in kernels(model)}
    others = sum(int(np.prod(v.shape)) for v in model.variables if id(v) not in coded)
    return kernel_limit(model, dtype) + 4.0 * others


def kernel_limit(model: keras.Model, dtype: str = "float32") -> float:
    """Returns the part of `information_limit` that the kernels have."""
    total = 0.0
    for kernel in kernel_arrays(model):
        kept = int(np.count_nonzero(kernel))
        total += kept * BYTES[dtype] + kernel.size * _entropy(kept / kernel.size) / 8
    return total


def kernels(model: keras.Model) -> list[keras.Variable]:
    """Returns the weights between units: floats of rank >= 2, no bias or normalization."""
    return [
        variable
        for variable in model.variables
        if len(variable.shape) >= 2
        and variable.dtype in _KERNEL_TYPES
        and not variable.name.endswith(_NOT_KERNELS)
    ]


def bytes_on_disk(path: str | os.PathLike) -> int:
    """Returns the bytes of a file, or of all files in a folder."""
    path = pathlib.Path(path)
    files = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
    return sum(file.stat().st_size for file in files)


def kernel_arrays(model: keras.Model) -> list[np.ndarray]:
    """Returns the values of a model's kernels, float32 whatever the model stores."""
    return [as_float32(kernel) for kernel in kernels(model)]


def stored_dense(model: keras.Model) -> list[Stored]:
    """Returns how a format stores a model's kernels that has no use for zeros."""
    return [
        Stored(kernel.shape, int(np.count_nonzero(kernel)), kernel.nbytes, "dense")
        for kernel in kernel_arrays(model)
    ]


def as_float32(kernel: keras.Variable) -> np.ndarray:
    """Returns the values of a kernel, whatever type it stores."""
    return to_numpy(kernel).astype(np.float32)


def _entropy(fraction: float) -> float:
    """Returns the binary entropy in bits."""
    if fraction in (0.0, 1.0):
        return 0.0
    return -fraction * math.log2(fraction) - (1 - fraction) * math.log2(1 - fraction)


def _gzip_bytes(path: pathlib.Path) -> int:
    if path.is_file():
        return len(gzip.compress(path.read_bytes(), 9))
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz", compresslevel=9) as archive:
        archive.add(path, arcname=path.name)
    return packed.tell()
