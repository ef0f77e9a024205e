"""The work of `python -m export`: write, verify, measure, report."""

import dataclasses
import pathlib
import tempfile

import keras
import numpy as np

from export import notes, saved_model, tflite
from export.compact import compact
from export.finetune import cluster_weights, quantization_aware
from export.latency import Latency, latency
from export.options import ExportOptions
from export.size import SizeReport, bytes_on_disk, kernels, size_report
from export.source import Examples, Source, load
from export.verify import Verification, predict, verify
from lth_tf.errors import UsageError
from lth_tf.files import atomic_path

_SUFFIXES = {"tflite": ".tflite", "saved_model": "_saved_model", "keras": ".keras"}


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A file that was written and verified.

    Attributes:
        path: the file or folder.
        kind: "tflite", "saved_model" or "keras".
        values: what its weights are stored as.
        size: its sizes.
        verification: how close it is to the model.
        latency: its latency, if it was measured.
        payload_bytes: what the kernels take in a SavedModel before deflate, else None.
    """

    path: pathlib.Path
    kind: str
    values: str
    size: SizeReport
    verification: Verification
    latency: Latency | None
    payload_bytes: int | None = None


def run(options: ExportOptions) -> list[Artifact]:
    """Exports what the flags ask for and prints how it went."""
    source = load(options)
    _refuse_missing_data(options, source)
    print(f"{source.title}\n{_kernel_line(source.model)}", flush=True)
    model = _finetuned(source, options)
    small = compact(model) if options.compact else model
    before, after = _weights(model), _weights(small)
    if after < before:
        print(f"Without units that cannot matter kernels have room for {after:,}.")
    folder = pathlib.Path(options.output_dir or source.folder)
    print(f"Writing and verifying {', '.join(options.formats)} ...", flush=True)
    artifacts = [
        export_one(kind, model, small, source, options, folder) for kind in options.formats
    ]
    print(_report(artifacts, model, source))
    return artifacts


def _refuse_missing_data(options: ExportOptions, source: Source) -> None:
    """Complains before anything is written."""
    if options.values == "int8" and "tflite" in options.formats and source.train is None:
        raise UsageError(
            "Expected --examples=FILE.npy for int8 .tflite files: their ranges are chosen on real "
            "inputs. Received: none."
        )
    finetune = options.cluster or options.qat
    if finetune and (source.train is None or source.train.labels is None):
        raise UsageError(
            "Expected --examples=FILE.npz with inputs x and labels y for --cluster and --qat. "
            f"Received: --examples={options.examples!r}."
        )


def _finetuned(source: Source, options: ExportOptions) -> keras.Model:
    if not options.cluster and not options.qat:
        return source.model
    arguments = {
        "epochs": options.finetune_epochs,
        "learning_rate": options.finetune_learning_rate,
    }
    train = (source.model, source.train.inputs, source.train.labels)
    if options.qat:
        print("Fine-tuning for int8 ...", flush=True)
        return quantization_aware(*train, clusters=options.cluster, **arguments)
    print(f"Fine-tuning to {options.cluster} values a kernel ...", flush=True)
    return cluster_weights(*train, clusters=options.cluster, **arguments)


def export_one(
    kind: str,
    model: keras.Model,
    small: keras.Model,
    source: Source,
    options: ExportOptions,
    folder: pathlib.Path,
) -> Artifact:
    """Writes a file, verifies it and puts it in its place."""
    values = "float32" if kind == "keras" else options.values
    path = folder / f"{source.name}_{values}{_SUFFIXES[kind]}"
    with atomic_path(path, replaces=saved_model.GRAPH_FILE) as partial:
        _write(kind, small, partial, values, source.representative)
        verification = verify(partial, model, source.test.inputs, values=values)
        with tempfile.TemporaryDirectory() as scratch:
            dense = pathlib.Path(scratch, f"dense{_SUFFIXES[kind]}")
            _write_dense(kind, model, dense, values, source.representative)
            size = size_report(partial, small, values, dense_bytes=bytes_on_disk(dense))
            seconds = 0 if kind == "keras" else options.latency_seconds
            example = source.test.inputs[:1]
            measured = latency(partial, dense, example, seconds) if seconds else None
    payload = saved_model.payload_bytes(small, values) if kind == "saved_model" else None
    return Artifact(path, kind, values, size, verification, measured, payload)


def _write(
    kind: str,
    model: keras.Model,
    path: pathlib.Path,
    values: str,
    examples: np.ndarray | None,
) -> None:
    if kind == "tflite":
        tflite.to_tflite(model, path, values=values, examples=examples)
    elif kind == "saved_model":
        saved_model.to_saved_model(model, path, values=values)
    else:
        model.save(path)


def _write_dense(
    kind: str,
    model: keras.Model,
    path: pathlib.Path,
    values: str,
    examples: np.ndarray | None,
) -> None:
    """Writes what the same network takes if nobody makes use of its zeros."""
    if kind == "tflite":
        path.write_bytes(tflite.dense_tflite(model, values, examples))
    elif kind == "saved_model":
        saved_model.dense_saved_model(model, path)
    else:
        model.save(path)


def _kernel_line(model: keras.Model) -> str:
    weights = _weights(model)
    left = sum(int(np.count_nonzero(kernel.numpy())) for kernel in kernels(model))
    return f"{left:,} of {weights:,} kernel weights are not 0 ({100 * left / weights:.2f} %)."


def _weights(model: keras.Model) -> int:
    return sum(int(np.prod(kernel.shape)) for kernel in kernels(model))


_COLUMNS = (
    f"{'file':<40}{'bytes':>11}{'dense bytes':>13}{'ratio':>8}{'limit':>11}{'x limit':>9}"
    f"{'gzip':>11}{'ms':>9}{'dense ms':>10}{'speed':>8}{'accuracy':>11}"
)


def _report(artifacts: list[Artifact], model: keras.Model, source: Source) -> str:
    lines = ["", _COLUMNS]
    lines += [_row(artifact, source.test) for artifact in artifacts]
    lines += ["", _model_line(model, source), *map(_agreement_line, artifacts)]
    for artifact in artifacts:
        lines += notes.speed_notes(model, artifact.kind, artifact.values)
    lines += [f"Written: {artifact.path}" for artifact in artifacts]
    return "\n".join(lines)


def _row(artifact: Artifact, test: Examples) -> str:
    size, time = artifact.size, artifact.latency
    speed = ("-", "-", "-")
    if time:
        speed = (
            f"{time.milliseconds:.3f}",
            f"{time.dense_milliseconds:.3f}",
            f"{time.speedup:.2f}x",
        )
    accuracy = _accuracy(artifact.verification.outputs, test)
    return (
        f"{artifact.path.name:<40}{size.bytes:>11,}{size.dense_bytes:>13,}{size.ratio:>7.1f}x"
        f"{size.limit:>11,.0f}{size.ratio_to_limit:>9.2f}{size.gzip_bytes:>11,}"
        f"{speed[0]:>9}{speed[1]:>10}{speed[2]:>8}{accuracy:>11}"
    )


def _accuracy(outputs: np.ndarray, test: Examples) -> str:
    if test.labels is None:
        return "-"
    return f"{100 * np.mean(outputs.argmax(-1) == test.labels):.2f} %"


def _model_line(model: keras.Model, source: Source) -> str:
    number = len(source.test.inputs)
    if source.train is None:
        return f"Verified on {number} random inputs only: give real ones with --examples=FILE.npy."
    if source.test.labels is None:
        return f"Verified on {number:,} examples."
    accuracy = _accuracy(predict(model, source.test.inputs), source.test)
    return f"Verified on {number:,} examples. The Keras model itself has {accuracy}."


def _agreement_line(artifact: Artifact) -> str:
    verification = artifact.verification
    return (
        f"{artifact.path.name}: {100 * verification.agreement:.2f} % of the predictions are the "
        f"model's, outputs differ by up to {verification.max_difference:.1e} "
        f"({100 * verification.relative_difference:.1g} % of their range), in "
        f"{', '.join(check.runtime for check in verification.checks)}."
    )
