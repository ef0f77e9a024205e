"""What `export.benchmark --models=...` measures of networks that people deploy."""

import pathlib
import tempfile
from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, TypeVar

from lth_tf.cli.table import Column
from lth_tf.errors import RunError

from .arrays import Arrays, part
from .compaction.compact import compact
from .examples import named
from .formats import FORMATS, Format, WriteOptions
from .real_models import build, prune, settle
from .signature import Signature, signature_of
from .size import SizeReport, size_report
from .timing import Load, latency, load_cost
from .verification import verify

_BATCHES = (1, 8)
_Result = TypeVar("_Result")

COLUMNS = (
    Column("model", 14, left=True),
    Column("% left", 6),
    Column("file", 11, left=True),
    Column("dtype", 7, left=True),
    Column("bytes", 11),
    Column("dense", 11, drop=2),
    Column("gzip", 11, drop=9),
    Column("dense gzip", 11, drop=10),
    Column("x limit", 7, drop=1),
    Column("speed 1", 7),
    Column("speed 8", 7, drop=3),
    Column("load s", 6, drop=5),
    Column("dense", 6, drop=6),
    Column("MB", 5, drop=7),
    Column("dense", 5, drop=8),
    Column("diff", 7, drop=4),
    Column("remark", left=True),
)


def rows(
    name: str, remaining: float, formats: list[str], dtypes: list[str], seconds: float
) -> Iterator[dict[str, Any]]:
    """Yields what is measured of a model, a dict for each format and dtype.

    Args:
        name: see `export.real_models`.
        remaining: percentage of weights that stay in each kernel.
        formats: names of formats.
        dtypes: what weights are stored as.
        seconds: what to spend on each latency; 0 measures neither those nor loading.
    """
    model, examples = build(name)
    dense = prune(model, remaining)
    settle(dense, examples)
    small = compact(dense)
    signature = signature_of(dense)
    inputs = named(signature, examples)
    for kind in formats:
        form = FORMATS.get(kind)
        for dtype in dtypes:
            if dtype not in form.dtypes:
                continue
            options = WriteOptions(dtype=dtype, examples=inputs)
            row = {"model": name, "remaining": remaining, "file": kind, "dtype": dtype}
            with tempfile.TemporaryDirectory() as folder:
                files = [pathlib.Path(folder, f"{n}{form.suffix}") for n in ("small", "dense")]
                try:
                    form.write(small, files[0], signature_of(small), options)
                    # Random weights decide nothing.
                    checked = verify(files[0], dense, inputs, dtype=dtype, least_agreement=0.0)
                except RunError as error:
                    yield row | {"remark": str(error)}
                    continue
                row["difference"] = checked.relative_difference
                yield row | _against_dense(
                    form, dense, small, signature, inputs, files, options, seconds
                )


def cells(row: dict[str, Any]) -> list[str]:
    """Returns a row as text, a cell for each of `COLUMNS`."""

    def text(name: str, form: str) -> str:
        value = row.get(name)
        return "-" if value is None else format(value, form)

    return [
        row["model"],
        text("remaining", ".4g"),
        row["file"],
        row["dtype"],
        text("bytes", ","),
        text("dense_bytes", ","),
        text("gzip_bytes", ","),
        text("dense_gzip_bytes", ","),
        text("ratio_to_limit", ".2f"),
        *(text(f"speed_{size}", ".2f") for size in _BATCHES),
        text("load_seconds", ".2f"),
        text("dense_load_seconds", ".2f"),
        text("load_megabytes", ".0f"),
        text("dense_load_megabytes", ".0f"),
        text("difference", ".1e"),
        row.get("remark", ""),
    ]


def _against_dense(
    form: Format,
    dense: Any,
    small: Any,
    signature: Signature,
    inputs: Arrays,
    files: list[pathlib.Path],
    options: WriteOptions,
    seconds: float,
) -> dict[str, Any]:
    remarks: list[str] = []
    try:
        form.write_dense(dense, files[1], signature, options)
    except RunError as error:
        sizes = _sizes(size_report(files[0], small, options.dtype, dense_bytes=0))
        return sizes | {"dense_bytes": None, "remark": str(error)}
    row = _sizes(size_report(files[0], small, options.dtype, dense_path=files[1]))
    if not seconds or not form.timed:
        return row
    for size in _BATCHES:
        batch = part(inputs, 0, size)
        timed = _tried(partial(latency, files[0], files[1], batch, seconds), remarks)
        row[f"speed_{size}"] = timed.speedup if timed else None
    for prefix, file in (("", files[0]), ("dense_", files[1])):
        cost: Load | None = _tried(partial(load_cost, file), remarks)
        row[f"{prefix}load_seconds"] = cost.seconds if cost else None
        row[f"{prefix}load_megabytes"] = cost.megabytes if cost else None
    return row | {"remark": "; ".join(dict.fromkeys(remarks))}


def _sizes(size: SizeReport) -> dict[str, Any]:
    return {
        "bytes": size.bytes,
        "dense_bytes": size.dense_bytes,
        "gzip_bytes": size.gzip_bytes,
        "dense_gzip_bytes": size.dense_gzip_bytes,
        "limit": round(size.limit),
        "ratio_to_limit": size.ratio_to_limit,
    }


def _tried(measure: Callable[[], _Result], remarks: list[str]) -> _Result | None:
    """Returns what is measured; why not, where a file does not run, goes to the remarks."""
    try:
        return measure()
    except RunError as error:
        remarks.append(str(error))
        return None
