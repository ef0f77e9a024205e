"""The work of `python -m export`: write, verify, measure, report."""

import dataclasses
import pathlib
import tempfile
from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from lth_tf.cli.kept import programs_kept
from lth_tf.errors import RunError, UsageError
from lth_tf.files import atomic_path
from lth_tf.lazy import require
from lth_tf.units.graph import NoGraph

from . import report, ticket
from .arrays import part
from .artifact import Artifact
from .compaction.compact import compact
from .config import ExportOptions
from .finetuning.finetune import cluster_weights, quantization_aware
from .formats import FORMATS, Format, WriteOptions
from .signature import signature_of
from .size import kernel_arrays, size_report
from .ticket import Ticket
from .timing import Latency, latency
from .verification import verify


def run(options: ExportOptions) -> list[Artifact]:
    """Exports what the flags ask for and prints how it went."""
    forms = [FORMATS.get(name) for name in options.formats]
    for form in forms:
        form.check_installed()
    if options.cluster or options.qat:
        require("tensorflow_model_optimization", "tf_keras")
    source = load(options)
    _refuse_missing_data(options, source, forms)
    say = (lambda *_, **__: None) if options.json else print
    say(f"{source.title}\n{_kernel_line(source.model)}", flush=True)
    source = dataclasses.replace(source, model=_finetuned(source, options, say))
    folder = pathlib.Path(options.output_dir or source.folder)
    small, artifacts = write(options, source, folder, say)
    print((report.as_json if options.json else report.text)(artifacts, source, small))
    return artifacts


def write(
    options: ExportOptions, source: Ticket, folder: pathlib.Path, say: Callable[..., None] = print
) -> tuple[keras.Model, list[Artifact]]:
    """Writes and verifies the files of a ticket that the flags ask for.

    Args:
        options: formats, dtype, compaction.
        source: the ticket.
        folder: where they go.
        say: is told how it goes.

    Returns:
        The model in the files, compacted if that was asked for, and the files.
    """
    small = _compacted(source.model, say) if options.compact else source.model
    say(f"Writing and verifying {', '.join(options.formats)} ...", flush=True)
    forms = [FORMATS.get(name) for name in options.formats]
    with programs_kept():
        return small, [export_one(form, small, source, options, folder) for form in forms]


def load(options: ExportOptions) -> Ticket:
    """Returns what the flags ask for."""
    if options.model:
        return ticket.load_file(options.model, examples=options.examples)
    if options.run:
        return ticket.load(
            options.run,
            options.level,
            weights=options.weights,
            tolerance=options.tolerance,
            examples=options.examples,
            data_dir=options.data_dir,
        )
    raise UsageError(
        "Expected --run=RUN_DIR or --model=FILE.keras. Received: neither. --help lists the flags."
    )


def _refuse_missing_data(options: ExportOptions, source: Ticket, forms: list[Format]) -> None:
    """Complains before anything is written."""
    needed = any(form.needs_examples(options.dtype) for form in forms)
    if needed and source.train is None:
        raise UsageError(
            "Expected --examples=FILE.npy for int8 .tflite files: their ranges are chosen on real "
            "inputs. Received: none."
        )
    if options.cluster or options.qat:
        _classified(options, source)


def _classified(options: ExportOptions, source: Ticket) -> tuple[np.ndarray, np.ndarray]:
    """Returns the inputs and labels that fine-tuning trains on."""
    train = source.train
    if train is None or not isinstance(train.labels, np.ndarray):
        raise UsageError(
            "Expected --examples=FILE.npz with inputs x and labels y for --cluster and --qat. "
            f"Received: --examples={options.examples!r}."
        )
    if len(train.inputs) != 1:
        raise UsageError(
            "Expected a classifier of one input for --cluster and --qat. Received: one with the "
            f"inputs {', '.join(train.inputs)}."
        )
    (inputs,) = train.inputs.values()
    return inputs, train.labels


def _finetuned(source: Ticket, options: ExportOptions, say: Callable[..., None]) -> keras.Model:
    if not options.cluster and not options.qat:
        return source.model
    arguments: dict[str, Any] = {
        "clusters": options.cluster,
        "epochs": options.finetune_epochs,
        "learning_rate": options.finetune_learning_rate,
    }
    inputs, labels = _classified(options, source)
    if options.qat:
        say("Fine-tuning for int8 ...", flush=True)
        return quantization_aware(source.model, inputs, labels, **arguments)
    say(f"Fine-tuning to {options.cluster} values a kernel ...", flush=True)
    return cluster_weights(source.model, inputs, labels, **arguments)


def _compacted(model: keras.Model, say: Callable[..., None]) -> keras.Model:
    """Returns the model without units that cannot matter, or as it is if it hides its layers."""
    try:
        small = compact(model)
    except NoGraph:
        say("Its layers cannot be followed from input to output: no units are removed.")
        return model
    before, after = _weights(model), _weights(small)
    if after < before:
        say(f"Without units that cannot matter kernels have room for {after:,}.")
    return small


def export_one(
    form: Format, small: keras.Model, source: Ticket, options: ExportOptions, folder: pathlib.Path
) -> Artifact:
    """Writes a file of a ticket, verifies it and puts it in its place.

    Args:
        form: of which format.
        small: the ticket's model, compacted if that was asked for.
        source: the ticket.
        options: dtype, batch size, seconds to measure for.
        folder: where the file goes.
    """
    dtype = options.dtype if options.dtype in form.dtypes else form.dtypes[0]
    path = folder / f"{source.name}_{dtype}{form.suffix}"
    write = WriteOptions(
        dtype=dtype,
        examples=source.representative,
        batch_size=options.batch_size or None,
        optimize=options.optimize,
        runtime=options.runtime,
    )
    with atomic_path(path, replaces=form.marker) as partial:
        stored = form.write(small, partial, signature_of(small, source.test.inputs), write)
        remarks: list[str] = []
        verification = verify(
            partial,
            source.model,
            source.test.inputs,
            dtype=dtype,
            least_agreement=options.agreement,
            runtimes=form.runtimes_of(write),
        )
        with tempfile.TemporaryDirectory() as scratch:
            dense = pathlib.Path(scratch, f"dense{form.suffix}")
            measured, size = None, size_report(partial, small, dtype, dense_bytes=0)
            try:
                form.write_dense(source.model, dense, source.signature, write)
                size = size_report(partial, small, dtype, dense_path=dense)
                measured = _latency(form, partial, dense, source, options)
            except RunError as error:
                remarks.append(f"{form.name}: not compared with the dense file: {error}")
    payload = form.payload_bytes(small, dtype)
    return Artifact(
        path,
        form.name,
        dtype,
        size,
        verification,
        measured,
        payload,
        tuple(stored),
        tuple(remarks),
    )


def _latency(
    form: Format, path: pathlib.Path, dense: pathlib.Path, source: Ticket, options: ExportOptions
) -> Latency | None:
    if not form.timed or not options.latency_seconds:
        return None
    size = source.signature.batch_size or options.batch_size or 1
    inputs = {k: np.resize(v, (size, *v.shape[1:])) for k, v in source.test.inputs.items()}
    return latency(path, dense, part(inputs, 0, size), options.latency_seconds)


def _kernel_line(model: keras.Model) -> str:
    weights = _weights(model)
    left = sum(int(np.count_nonzero(kernel)) for kernel in kernel_arrays(model))
    return f"{left:,} of {weights:,} kernel weights are not 0 ({100 * left / weights:.2f} %)."


def _weights(model: keras.Model) -> int:
    return sum(kernel.size for kernel in kernel_arrays(model))
