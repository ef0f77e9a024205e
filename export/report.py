"""What `python -m export` prints of the files it wrote."""

import json
from collections.abc import Sequence
from typing import Any

import keras

from lth_tf.cli.table import Column, table

from .artifact import Artifact
from .formats import FORMATS
from .layers import Kernel, costs, parameters
from .metrics import score
from .signature import predict, signature_of
from .ticket import Ticket

_FILES = (
    Column("file", left=True, shrink=True),
    Column("bytes"),
    Column("dense bytes", drop=1),
    Column("ratio"),
    Column("limit", drop=7),
    Column("x limit", drop=2),
    Column("gzip", drop=5),
    Column("dense gzip", drop=6),
    Column("ms", drop=3),
    Column("dense ms", drop=4),
    Column("speed"),
    Column("accuracy"),
)
_KERNELS = (
    Column("kernel", left=True, shrink=True),
    Column("shape", left=True, drop=3),
    Column("kept", drop=1),
    Column("% kept"),
    Column("multiply-adds", drop=2),
    Column("file", left=True),
    Column("bytes"),
    Column("stored", left=True),
)


def text(artifacts: Sequence[Artifact], source: Ticket, small: keras.Model) -> str:
    """Returns the tables of kernels and of files and what else is to say, lines joined.

    Args:
        artifacts: the files.
        source: what was exported.
        small: the model in the files.
    """
    lines = [*_kernel_lines(artifacts, source, small), ""]
    lines.append(table(_FILES, [_row(artifact, source) for artifact in artifacts]))
    lines += ["", _model_line(source), *map(_agreement_line, artifacts)]
    for artifact in artifacts:
        lines += artifact.remarks
        lines += FORMATS.get(artifact.kind).speed_caveats(source.model, artifact.dtype)
    lines += [f"Written: {artifact.path}" for artifact in artifacts]
    return "\n".join(lines)


def as_json(artifacts: Sequence[Artifact], source: Ticket, small: keras.Model) -> str:
    """Returns the same as one JSON object; numbers are those of `text`, unrounded."""
    value = {
        "model": source.title,
        "real_examples": source.train is not None,
        "examples": len(source.test),
        "score": _model_score(source) if source.train is not None else "-",
        "before": _totals(source.model, source),
        "after": _totals(small, source),
        "files": [_file(artifact, source, small) for artifact in artifacts],
    }
    return json.dumps(value, indent=1)


def _file(artifact: Artifact, source: Ticket, small: keras.Model) -> dict[str, Any]:
    size, time, verification = artifact.size, artifact.latency, artifact.verification
    return {
        "path": str(artifact.path),
        "format": artifact.kind,
        "dtype": artifact.dtype,
        "bytes": size.bytes,
        "dense_bytes": size.dense_bytes or None,
        "gzip_bytes": size.gzip_bytes,
        "dense_gzip_bytes": size.dense_gzip_bytes,
        "limit_bytes": size.limit,
        "milliseconds": time.milliseconds if time else None,
        "dense_milliseconds": time.dense_milliseconds if time else None,
        "score": score(verification.named_outputs, source.test.labels, source.judge),
        "agreement": verification.agreement,
        "max_difference": verification.max_difference,
        "runtimes": [check.runtime for check in verification.checks],
        "kernels": [
            {
                "name": kernel.name,
                "shape": list(kernel.shape),
                "kept": kernel.kept,
                "multiply_adds": kernel.multiply_adds,
                "bytes": kernel.bytes,
                "how": kernel.how,
            }
            for kernel in _costs(small, source, artifact)
        ],
        "remarks": list(artifact.remarks),
    }


def _costs(model: keras.Model, source: Ticket, artifact: Artifact | None = None) -> list[Kernel]:
    signature = signature_of(model, source.test.inputs)
    return costs(model, signature, artifact.stored if artifact else ())


def _totals(model: keras.Model, source: Ticket) -> dict[str, int]:
    flops = 2 * sum(kernel.multiply_adds for kernel in _costs(model, source))
    return {"parameters": parameters(model), "flops": flops}


def _kernel_lines(artifacts: Sequence[Artifact], source: Ticket, small: keras.Model) -> list[str]:
    """Returns one line a kernel and file, and parameters and FLOPs before and after."""
    costs_of = [_costs(small, source, artifact) for artifact in artifacts]
    rows = []
    for kernels in zip(*costs_of, strict=True):
        cells = _kernel_cells(kernels[0])
        for kernel, artifact in zip(kernels, artifacts, strict=True):
            rows.append([*cells, artifact.kind, *_stored_cells(kernel)])
            cells = [""] * len(cells)
    lines = ["", table(_KERNELS, rows)]
    before, after = _totals(source.model, source), _totals(small, source)
    lines.append(
        f"Parameters {before['parameters']:,} before, {after['parameters']:,} after; FLOPs of an "
        f"example {before['flops']:,} before, {after['flops']:,} after, zeros that stay included."
    )
    return lines


def _kernel_cells(kernel: Kernel) -> list[str]:
    return [
        kernel.name,
        "x".join(map(str, kernel.shape)),
        f"{kernel.kept:,}",
        f"{100 * kernel.kept / kernel.size:.1f}",
        f"{kernel.multiply_adds:,}",
    ]


def _stored_cells(kernel: Kernel) -> list[str]:
    return ["-", "-"] if kernel.bytes is None else [f"{kernel.bytes:,}", kernel.how]


def _row(artifact: Artifact, source: Ticket) -> list[str]:
    size, time = artifact.size, artifact.latency
    speed = ("-", "-", "-")
    if time:
        speed = (
            f"{time.milliseconds:.3f}",
            f"{time.dense_milliseconds:.3f}",
            f"{time.speedup:.2f}x",
        )
    dense = ("-", "-", "-")
    if size.dense_bytes:
        dense = (f"{size.dense_bytes:,}", f"{size.ratio:.1f}x", f"{size.dense_gzip_bytes:,}")
    judged = score(artifact.verification.named_outputs, source.test.labels, source.judge)
    return [
        artifact.path.name,
        f"{size.bytes:,}",
        *dense[:2],
        f"{size.limit:,.0f}",
        f"{size.ratio_to_limit:.2f}",
        f"{size.gzip_bytes:,}",
        dense[2],
        *speed,
        judged,
    ]


def _model_line(source: Ticket) -> str:
    number = len(source.test)
    if source.train is None:
        return f"Verified on {number} random inputs only: give real ones with --examples=FILE.npy."
    if source.test.labels is None:
        return f"Verified on {number:,} examples."
    return f"Verified on {number:,} examples. The Keras model itself has {_model_score(source)}."


def _model_score(source: Ticket) -> str:
    outputs = predict(source.signature, source.model, source.test.inputs)
    return score(outputs, source.test.labels, source.judge)


def _agreement_line(artifact: Artifact) -> str:
    verification = artifact.verification
    return (
        f"{artifact.path.name}: {100 * verification.agreement:.2f} % of the predictions are the "
        f"model's, outputs differ by up to {verification.max_difference:.1e} "
        f"({100 * verification.relative_difference:.1g} % of their range), in "
        f"{', '.join(check.runtime for check in verification.checks)}."
    )
