"""The work of `python -m export.prune`: train, prune, judge, write."""

import dataclasses
import math
import pathlib
import re
import warnings
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_tf.config import run_name
from lth_tf.errors import RunError, UsageError, one_line
from lth_tf.files import atomic_path
from lth_tf.masking.model import get_masks, get_weights, load_model, strip_masks
from lth_tf.methods.gradual import Gradual
from lth_tf.runs.run_dir import RunDir
from lth_tf.seeding import generator
from lth_tf.tickets import judging
from lth_tf.tickets.callback import TicketCallback

from . import command, examples, own_model_report
from .artifact import Artifact
from .config import ExportOptions, PruneOptions
from .examples import Examples
from .formats import FORMATS
from .own_model_report import PRUNED, Progress
from .signature import Signature, signature_of

_RATE = 0.2  # of a level, where nobody says how many levels there are
_FEWEST = 10  # prunings in a short training


def run(path: str, options: PruneOptions) -> RunDir:
    """Trains and prunes the model in a file, and writes what it came to.

    Args:
        path: a .keras file of a compiled model.
        options: the flags.

    Raises:
        UsageError: if the model, the examples or the flags do not fit; before anything is trained.
        MissingPackage: if a format needs one; it names the extra.
        RunError: if a loss is not finite.
    """
    for name in options.formats:
        FORMATS.get(name).check_installed()
    keras.utils.set_random_seed(options.seed)
    file = pathlib.Path(path)
    model = load(file)
    compiled = model.get_compile_config()
    signature = signature_of(model)
    given = examples.read(pathlib.Path(options.examples), signature)
    train, held_out = split(given, signature, options)
    before = _checked(model, signature, (train, held_out), options)
    metric = _metric(before, model, options)
    # What it has learned stays, what its optimizer remembers does not: levels begin alike.
    model.compile_from_config(compiled)
    run_dir = _run_dir(file, model, options)
    tickets = _callback(run_dir, _batches(train, options), metric, options)
    own_model_report.head(file, model, run_dir, (train, held_out), tickets.epochs, options)
    _train(model, signature, (train, held_out), tickets, options)
    strip_masks(model)
    model.compile_from_config(compiled)
    after = _evaluate(model, signature, held_out, options)
    with atomic_path(run_dir.path / PRUNED) as partial:
        model.save(partial)
    own_model_report.levels(run_dir, before, after)
    own_model_report.files(file, run_dir, _exported(run_dir, options, train, held_out), held_out)
    return run_dir


def load(file: pathlib.Path) -> keras.Model:
    """Returns the compiled model in a file.

    Raises:
        UsageError: if there is none, it is not compiled, or has masks already.
    """
    if file.suffix != ".keras" or not file.is_file():
        raise UsageError(f"Expected a .keras file. Received: {file}.")
    try:
        with warnings.catch_warnings():
            # Of a model that was compiled and never trained; the optimizer begins anew.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            model = load_model(str(file))
    except UsageError as error:
        raise UsageError(
            f"{error} With layers, losses or metrics of your own use lth_tf.PruneCallback in the "
            "script that has them."
        ) from error
    if not model.compiled or not model.get_compile_config():
        raise UsageError(
            f"Expected a compiled model. Received: {file}, which has no optimizer and loss. "
            "Call model.compile(...) before model.save(...)."
        )
    if get_masks(model):
        raise UsageError(
            f"Expected a model without masks. Received: {file}, which is pruned already. "
            "Save it with lth_tf.save_stripped(model, path, include_optimizer=True)."
        )
    return model


def split(
    given: Examples, signature: Signature, options: PruneOptions
) -> tuple[Examples, Examples]:
    """Returns the examples to train on and those held out.

    Raises:
        UsageError: if there are no labels, or too few examples.
    """
    if given.labels is None:
        raise UsageError(
            "Expected labels: an array y, or one an output by its name. "
            f"Received: --examples={options.examples} without any."
        )
    if len(signature.arguments) != 1:
        raise UsageError(
            "Expected a model that fit can call, with one argument. Received: one with "
            f"{len(signature.arguments)}."
        )
    fixed = signature.batch_size
    if fixed and fixed != options.batch_size:
        raise UsageError(
            f"Expected batch_size={fixed}, for which the model is made. "
            f"Received: batch_size={options.batch_size}."
        )
    multiple = fixed or 1
    number = len(given) // multiple
    held = max(1, round(number * options.validation_split))
    if number - held < 1:
        raise UsageError(
            f"Expected at least {2 * multiple} examples, and some to train on. Received: "
            f"{len(given)} with validation_split={options.validation_split:g}."
        )
    order = generator(options.seed, "held out").permutation(len(given))
    train, held_out = order[: (number - held) * multiple], order[-held * multiple :]
    return given.at(np.sort(train)), given.at(np.sort(held_out))


def _fit_arguments(signature: Signature, part: Examples) -> tuple[Any, Any, Any]:
    """Returns inputs, labels and sample weights as `fit` takes them."""
    (nested,) = signature.arguments
    inputs = keras.tree.map_structure(lambda name: part.inputs[name], nested)
    return inputs, part.labels, part.weights


def _evaluate(
    model: keras.Model, signature: Signature, part: Examples, options: PruneOptions
) -> dict[str, float]:
    x, y, weights = _fit_arguments(signature, part)
    logs = model.evaluate(
        x,
        y,
        sample_weight=weights,
        batch_size=options.batch_size,
        verbose=0,
        return_dict=True,
    )
    return {name: float(value) for name, value in logs.items() if np.ndim(value) == 0}


def _checked(
    model: keras.Model,
    signature: Signature,
    parts: tuple[Examples, Examples],
    options: PruneOptions,
) -> dict[str, float]:
    """Returns how good the model is on the examples held out.

    Raises:
        UsageError: if the loss cannot be computed on all examples, or is not finite.
    """
    for part in parts:
        try:
            found = _evaluate(model, signature, part, options)
        except (TypeError, ValueError, KeyError, IndexError, tf.errors.OpError) as error:
            raise UsageError(
                "Expected labels, and sample weights, that the model's loss and metrics take. "
                f"Received: --examples={options.examples} ({_reason(error)})."
            ) from error
        if not math.isfinite(found["loss"]):
            raise UsageError(
                f"Expected examples on which the model's loss is finite. Received: a loss of "
                f"{found['loss']} on those of {options.examples}."
            )
    return found


def _reason(error: Exception) -> str:
    """Returns what an error says; of TensorFlow's, without where in the graph it came about."""
    if not isinstance(error, tf.errors.OpError):
        return one_line(error)
    lines = [line.strip() for line in error.message.split("[[{{node")[0].splitlines()]
    return [line for line in lines if line][-1][:200]


def _run_dir(file: pathlib.Path, model: keras.Model, options: PruneOptions) -> RunDir:
    """Returns the run directory; of another model of that name it is refused."""
    changed = run_name(options, type(options)())
    name = re.sub(r"[^\w.+-]", "_", file.stem)
    run_dir = RunDir(pathlib.Path(options.runs_dir, name, changed, f"seed_{options.seed}"))
    if options.overwrite:
        run_dir.delete()
    if run_dir.has_origin():
        origin, weights = run_dir.origin(), get_weights(model)
        same = origin.keys() == weights.keys() and all(
            np.array_equal(origin[path], value) for path, value in weights.items()
        )
        if not same:
            raise UsageError(
                f"Expected the model that {run_dir.path} was begun with. Received: {file}, whose "
                "weights are others. Give another runs_dir, or overwrite.",
                arguments=("runs_dir", "overwrite"),
            )
    return run_dir


def _batches(train: Examples, options: PruneOptions) -> int:
    return math.ceil(len(train) / options.batch_size)


def _callback(
    run_dir: RunDir,
    batches: int,
    metric: str,
    options: PruneOptions,
) -> TicketCallback:
    """Returns what trains and prunes inside `fit`."""
    progress = Progress(run_dir, options.epochs, metric)
    arguments: dict[str, Any] = {
        "criterion": options.criterion,
        "scope": options.scope,
        "granularity": options.granularity,
        "metric": metric,
        "mode": options.mode,
        "seed": options.seed,
        "epochs_per_level": options.epochs,
        "level_callbacks": [progress],
        "verbose": 0,
    }
    method = options.method
    if options.density == 1:
        return TicketCallback(run_dir.path, levels=0, **arguments)
    if isinstance(method, Gradual):
        method = _often_enough(method, batches * options.epochs)
    if hasattr(method, "final_density"):
        method = dataclasses.replace(method, final_density=(options.density,))
        return TicketCallback(run_dir.path, levels=1, method=method, **arguments)
    # Where no level is made from the one before, one is enough.
    enough = math.ceil(math.log(options.density) / math.log(1 - _RATE)) if method.needs(2) else 1
    arguments["target_density"] = options.density
    levels = options.levels or max(1, enough)
    return TicketCallback(run_dir.path, levels=levels, method=method, **arguments)


def _often_enough(method: Gradual, iterations: int) -> Gradual:
    """Returns gradual pruning that has room for some prunings in a short training."""
    room = round((method.prune_end - method.prune_begin) * iterations)
    most = max(1, room // _FEWEST)
    method = dataclasses.replace(method, prune_frequency=min(method.prune_frequency, most))
    try:
        method.prunings(iterations)
    except UsageError as error:
        raise UsageError(f"{error} Train for longer.", arguments=("epochs",)) from error
    return method


def _metric(before: dict[str, float], model: keras.Model, options: PruneOptions) -> str:
    """Returns the metric to judge by: the accuracy, the first that has a direction, or the loss."""
    logs = [*before, *(f"val_{name}" for name in before)]
    try:
        found = judging.metric_name(logs, options.metric)
        judging.direction(found, model.metrics, options.mode)
        return found
    except UsageError:
        if options.metric:
            raise
    for name in before:
        try:
            judging.direction(name, model.metrics)
        except UsageError:
            continue
        if name != judging.LOSS:
            return name
    return judging.LOSS


def _train(
    model: keras.Model,
    signature: Signature,
    parts: tuple[Examples, Examples],
    tickets: TicketCallback,
    options: PruneOptions,
) -> None:
    x, y, weights = _fit_arguments(signature, parts[0])
    held_out = _fit_arguments(signature, parts[1])
    try:
        model.fit(
            x,
            y,
            sample_weight=weights,
            validation_data=held_out if held_out[2] is not None else held_out[:2],
            batch_size=options.batch_size,
            epochs=max(1, tickets.epochs),
            callbacks=[tickets],
            verbose=0,
        )
    except tf.errors.ResourceExhaustedError as error:
        raise RunError(f"Out of memory: {one_line(error)}. Try a smaller --batch_size.") from error


def _exported(
    run_dir: RunDir, options: PruneOptions, train: Examples, held_out: Examples
) -> list[Artifact]:
    """Returns the files that were asked for, written and verified on the examples held out."""
    if not options.formats:
        return []
    export = ExportOptions(
        model=str(run_dir.path / PRUNED),
        examples=options.examples,
        format=",".join(options.formats),
        latency_seconds=0.0,
    )
    source = dataclasses.replace(command.load(export), test=held_out, train=train)
    _, artifacts = command.write(export, source, run_dir.path / "export")
    return artifacts
