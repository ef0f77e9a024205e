"""What is exported: a ticket of a run, or a pruned .keras file, with data to check it by."""

import dataclasses
import os
import pathlib

import keras

from export import examples as examples_of
from export.arrays import Arrays, part
from export.examples import Examples
from export.metrics import Judge, compiled_metrics
from export.signature import INPUT, Signature, signature_of
from export.size import kernel_arrays
from export.stripping import strip
from lth_tf import datasets, networks
from lth_tf.errors import UsageError
from lth_tf.files import damaged
from lth_tf.masking.model import load_model, set_masks, set_weights, strip_masks
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.winning import smallest_winning

_REPRESENTATIVE = 256  # examples that int8 ranges are chosen by


@dataclasses.dataclass(frozen=True)
class Ticket:
    """A model to export and data to check it with.

    Attributes:
        model: a plain model with zeros in its kernels.
        name: what its files are called.
        title: one line that says what it is.
        folder: where its files go by default.
        signature: how the model is called.
        test: what files are verified on; random numbers if nothing else is there.
        train: what to fine-tune on and to choose int8 ranges by, or None.
        judge: the metric the model was compiled with, or None.
    """

    model: keras.Model
    name: str
    title: str
    folder: pathlib.Path
    signature: Signature
    test: Examples
    train: Examples | None
    judge: Judge | None = None

    @property
    def representative(self) -> Arrays | None:
        """The inputs that int8 ranges are chosen by."""
        return None if self.train is None else part(self.train.inputs, 0, _REPRESENTATIVE)


def load(
    run: str | os.PathLike,
    level: int | None = None,
    *,
    weights: str = "trained",
    tolerance: float = 0.0,
    examples: str = "",
    data_dir: str = "",
    refuse_dense: bool = True,
) -> Ticket:
    """Returns a ticket of a run.

    Args:
        run: a run directory.
        level: which; None takes that of the smallest winning ticket.
        weights: "trained", or "origin" for those that training starts from.
        tolerance: points of test accuracy (percent) that a winning ticket may be below the
            dense network.
        examples: file of inputs, see `export.examples.read`; for runs of `model.fit`.
        data_dir: TFDS folder.
        refuse_dense: complain of a model without zeros.

    Raises:
        UsageError: if there is no such thing, it is damaged, or no ticket.
    """
    run_dir = RunDir(run)
    config = run_dir.config()
    level = _winning_level(run_dir, tolerance) if level is None else level
    if not run_dir.has(Stage(level)):
        run_dir.level_path(Stage(level), "mask.npz")  # raises: it names the levels there are
    model, judge = _model_of_run(run_dir)
    trained = weights == "trained"
    try:
        set_masks(model, run_dir.mask(Stage(level)))
        set_weights(model, run_dir.trained(Stage(level)) if trained else run_dir.ticket(level))
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"Expected a run of this version. Received: {run_dir.path} ({error}). "
            "Export it with the version that wrote it."
        ) from error
    model = strip_masks(model)
    signature = signature_of(model)
    if config.kind == "fit":
        test, train = _given_or_random(examples, signature)
    else:
        test, train = _data(run_dir, data_dir, model)
    density = run_dir.summary(Stage(level))["density"]
    ticket = Ticket(
        model=model,
        name=f"{config.network}_level_{level:02d}{'' if trained else '_origin'}",
        title=f"{config.network} on {config.dataset}, level {level}, {100 * density:.2f} % of the "
        f"weights, {'trained' if trained else 'as training starts from them'}",
        folder=run_dir.path / "export",
        signature=signature,
        test=test,
        train=train,
        judge=judge,
    )
    return _pruned(ticket) if refuse_dense else ticket


def load_file(path: str | os.PathLike, *, examples: str = "") -> Ticket:
    """Returns the pruned model in a .keras file, masked or not.

    Args:
        path: the file.
        examples: file of inputs and labels, see `export.examples.read`; "" for random inputs.

    Raises:
        UsageError: if there is no such file, it is damaged, or its model is not pruned.
    """
    path = pathlib.Path(path)
    if path.suffix != ".keras" or not path.is_file():
        raise UsageError(f"Expected a .keras file. Received: --model={path}.")
    loaded, judge = _load(path)
    model = strip(loaded)
    signature = signature_of(model)
    test, train = _given_or_random(examples, signature)
    name, folder = path.stem, path.parent / "export"
    return _pruned(Ticket(model, name, str(path), folder, signature, test, train, judge))


def _pruned(ticket: Ticket) -> Ticket:
    if not any((kernel == 0).any() for kernel in kernel_arrays(ticket.model)):
        raise UsageError(
            f"Expected a ticket or a pruned model. Received: {ticket.title}, which has no weight "
            "that is 0. Nothing can be gained by exporting it."
        )
    return ticket


def _model_of_run(run_dir: RunDir) -> tuple[keras.Model, Judge | None]:
    """Returns the masked network of a run, its weights still to be set, and its metric."""
    config, about = run_dir.config(), run_dir.about()
    if config.kind == "fit":
        if not run_dir.has_model():
            raise UsageError(
                f"Expected {run_dir.model_path}. Received: a run of a model that Keras could not "
                "save. Put its masks and weights into the model, and export it from Python."
            )
        return _load(run_dir.model_path)
    try:
        image_shape, classes = tuple(about["data"]["image_shape"]), about["data"]["classes"]
    except (KeyError, TypeError) as error:
        raise UsageError(damaged(run_dir.path / "config.json", f"no {error}")) from error
    model = networks.build(config.network, image_shape, classes, config.seed, config.dropout_rate)
    return model, None


def _winning_level(run_dir: RunDir, tolerance: float) -> int:
    summaries = [run_dir.summary(stage) for stage in run_dir.finished() if not stage.control]
    if not summaries or summaries[0]["level"] != 0:
        raise UsageError(
            f"Expected a run with a finished dense network. Received: {run_dir.path}, without "
            "level 0. Let the experiment run on."
        )
    best = smallest_winning(summaries, tolerance / 100)
    if best is None:
        raise UsageError(
            f"Expected a run with a winning ticket. Received: {run_dir.path}, where no level "
            f"reaches the dense network within {tolerance:g} points as fast. "
            "Choose one with --level, or a larger --tolerance."
        )
    return best["level"]


def _data(run_dir: RunDir, data_dir: str, model: keras.Model) -> tuple[Examples, Examples | None]:
    """Returns what a run's model is tested with, and what it was trained on."""
    config = run_dir.config()
    # runs/<experiment>/<name>/seed_<k>; experiments keep decoded data in runs/.cache.
    caches = [folder / ".cache" for folder in run_dir.path.absolute().parents[2:3]]
    data = datasets.load(
        config.dataset,
        image_shape=model.input_shape[1:],
        validation_size=config.validation_size,
        seed=config.seed,
        data_dir=data_dir or run_dir.about()["data"].get("data_dir", ""),
        cache_dir=next((cache for cache in caches if cache.is_dir()), None),
    )
    prepared = [
        Examples({INPUT: data.preprocessing(split.inputs)}, split.labels)
        for split in (data.test, data.train)
    ]
    return tuple(prepared)


def _given_or_random(examples: str, signature: Signature) -> tuple[Examples, Examples | None]:
    """Returns the examples in a file, or random ones to test with."""
    if not examples:
        return examples_of.random(signature), None
    given = examples_of.read(pathlib.Path(examples), signature)
    return given, given


def _load(path: pathlib.Path) -> tuple[keras.Model, Judge | None]:
    """Returns the model in a file, and the metric it was compiled with."""
    model = load_model(path, compile=False)
    try:
        return model, compiled_metrics(load_model(path))
    except Exception:  # a loss or metric of the user's own, or a damaged one
        return model, None
