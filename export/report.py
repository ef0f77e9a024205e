"""What `python -m export` prints of the files it wrote."""

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import keras

from .formats import FORMATS
from .layers import Kernel, costs, parameters
from .metrics import score
from .signature import predict, signature_of

if TYPE_CHECKING:
    from .command import Artifact
    from .ticket import Ticket

_COLUMNS = (
    f"{'file':<40}{'bytes':>11}{'dense bytes':>13}{'ratio':>8}{'limit':>11}{'x limit':>9}"
    f"{'gzip':>11}{'dense gzip':>12}{'ms':>9}{'dense ms':>10}{'speed':>8}{'accuracy':>11}"
)
_KERNEL_COLUMNS = f"{'kernel':<40}{'shape':<20}{'kept':>20}{'multiply-adds':>16}"


def text(artifacts: Sequence["Artifact"], source: "Ticket", small: keras.Model) -> str:
    """Returns the tables of kernels and of files and what else is to say, lines joined.

    Args:
        artifacts: the files.
        source: what was exported.
        small: the model in the files.
    """
    lines = [*_kernel_lines(artifacts, source, small), "", _COLUMNS]
    lines += [_row(artifact, source) for artifact in artifacts]
    lines += ["", _model_line(source), *map(_agreement_line, artifacts)]
    for artifact in artifacts:
        lines += artifact.remarks
        lines += FORMATS.get(artifact.kind).speed_caveats(source.model, artifact.dtype)
    lines += [f"Written: {artifact.path}" for artifact in artifacts]
    return "\n".join(lines)


def as_json(artifacts: Sequence["Artifact"], source: "Ticket", small: keras.Model) -> str:
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


def _file(artifact: "Artifact", source: "Ticket", small: keras.Model) -> dict[str, Any]:
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


def _costs(
    model: keras.Model, source: "Ticket", artifact: "Artifact | None" = None
) -> list[Kernel]:
    signature = signature_of(model, source.test.inputs)
    return costs(model, signature, artifact.stored if artifact else ())


def _totals(model: keras.Model, source: "Ticket") -> dict[str, int]:
    flops = 2 * sum(kernel.multiply_adds for kernel in _costs(model, source))
    return {"parameters": parameters(model), "flops": flops}


def _kernel_lines(
    artifacts: Sequence["Artifact"], source: "Ticket", small: keras.Model
) -> list[str]:
    """Returns one line a kernel, and parameters and FLOPs before and after."""
    tables = [_costs(small, source, artifact) for artifact in artifacts]
    heads = "".join(f"  {f'{a.kind} bytes, how stored':<40}" for a in artifacts)
    lines = ["", _KERNEL_COLUMNS + heads]
    for kernels in zip(*tables, strict=True):
        first = kernels[0]
        share = f"{first.kept:,} ({100 * first.kept / first.size:.1f} %)"
        shape = "x".join(map(str, first.shape))
        lines.append(
            f"{first.name:<40}{shape:<20}{share:>20}{first.multiply_adds:>16,}"
            + "".join(f"  {_bytes(kernel):<40}" for kernel in kernels)
        )
    before, after = _totals(source.model, source), _totals(small, source)
    lines.append(
        f"Parameters {before['parameters']:,} before, {after['parameters']:,} after; FLOPs of an "
        f"example {before['flops']:,} before, {after['flops']:,} after, zeros that stay included."
    )
    return lines


def _bytes(kernel: Kernel) -> str:
    return "-" if kernel.bytes is None else f"{kernel.bytes:,} {kernel.how}"


def _row(artifact: "Artifact", source: "Ticket") -> str:
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
    return (
        f"{artifact.path.name:<40}{size.bytes:>11,}{dense[0]:>13}{dense[1]:>8}"
        f"{size.limit:>11,.0f}{size.ratio_to_limit:>9.2f}{size.gzip_bytes:>11,}{dense[2]:>12}"
        f"{speed[0]:>9}{speed[1]:>10}{speed[2]:>8}{judged:>11}"
    )


def _model_line(source: "Ticket") -> str:
    number = len(source.test)
    if source.train is None:
        return f"Verified on {number} random inputs only: give real ones with --examples=FILE.npy."
    if source.test.labels is None:
        return f"Verified on {number:,} examples."
    return f"Verified on {number:,} examples. The Keras model itself has {_model_score(source)}."


def _model_score(source: "Ticket") -> str:
    outputs = predict(source.signature, source.model, source.test.inputs)
    return score(outputs, source.test.labels, source.judge)


def _agreement_line(artifact: "Artifact") -> str:
    verification = artifact.verification
    return (
        f"{artifact.path.name}: {100 * verification.agreement:.2f} % of the predictions are the "
        f"model's, outputs differ by up to {verification.max_difference:.1e} "
        f"({100 * verification.relative_difference:.1g} % of their range), in "
        f"{', '.join(check.runtime for check in verification.checks)}."
    )
