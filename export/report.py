"""What `python -m export` prints of the files it wrote."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from export.formats import FORMATS
from export.metrics import score
from export.signature import predict

if TYPE_CHECKING:
    from export.command import Artifact
    from export.ticket import Ticket

_COLUMNS = (
    f"{'file':<40}{'bytes':>11}{'dense bytes':>13}{'ratio':>8}{'limit':>11}{'x limit':>9}"
    f"{'gzip':>11}{'ms':>9}{'dense ms':>10}{'speed':>8}{'accuracy':>11}"
)


def text(artifacts: Sequence["Artifact"], source: "Ticket") -> str:
    """Returns the table of files and what else is to say, lines joined."""
    lines = ["", _COLUMNS]
    lines += [_row(artifact, source) for artifact in artifacts]
    lines += ["", _model_line(source), *map(_agreement_line, artifacts)]
    for artifact in artifacts:
        lines += artifact.remarks
        lines += FORMATS.get(artifact.kind).speed_caveats(source.model, artifact.values)
    lines += [f"Written: {artifact.path}" for artifact in artifacts]
    return "\n".join(lines)


def _row(artifact: "Artifact", source: "Ticket") -> str:
    size, time = artifact.size, artifact.latency
    speed = ("-", "-", "-")
    if time:
        speed = (
            f"{time.milliseconds:.3f}",
            f"{time.dense_milliseconds:.3f}",
            f"{time.speedup:.2f}x",
        )
    dense = (f"{size.dense_bytes:,}", f"{size.ratio:.1f}x") if size.dense_bytes else ("-", "-")
    judged = score(artifact.verification.named_outputs, source.test.labels, source.judge)
    return (
        f"{artifact.path.name:<40}{size.bytes:>11,}{dense[0]:>13}{dense[1]:>8}"
        f"{size.limit:>11,.0f}{size.ratio_to_limit:>9.2f}{size.gzip_bytes:>11,}"
        f"{speed[0]:>9}{speed[1]:>10}{speed[2]:>8}{judged:>11}"
    )


def _model_line(source: "Ticket") -> str:
    number = len(source.test)
    if source.train is None:
        return f"Verified on {number} random inputs only: give real ones with --examples=FILE.npy."
    if source.test.labels is None:
        return f"Verified on {number:,} examples."
    outputs = predict(source.signature, source.model, source.test.inputs)
    judged = score(outputs, source.test.labels, source.judge)
    return f"Verified on {number:,} examples. The Keras model itself has {judged}."


def _agreement_line(artifact: "Artifact") -> str:
    verification = artifact.verification
    return (
        f"{artifact.path.name}: {100 * verification.agreement:.2f} % of the predictions are the "
        f"model's, outputs differ by up to {verification.max_difference:.1e} "
        f"({100 * verification.relative_difference:.1g} % of their range), in "
        f"{', '.join(check.runtime for check in verification.checks)}."
    )
