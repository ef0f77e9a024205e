"""Where an exported model comes from: a run directory, or a .keras file."""

import dataclasses
import pathlib
import zipfile

import keras
import numpy as np

from export.options import ExportOptions
from export.size import kernels
from export.strip import strip
from lth_tf import datasets, networks
from lth_tf.errors import UsageError
from lth_tf.files import damaged
from lth_tf.masking.model import load_model, set_masks, set_weights, strip_masks
from lth_tf.runs.run_dir import RunDir, Stage
from lth_tf.tickets.winning import smallest_winning

_REPRESENTATIVE = 256  # examples that int8 ranges are chosen by
_RANDOM = 64  # random examples where there are no real ones


@dataclasses.dataclass(frozen=True)
class Examples:
    """Inputs as the model takes them, [n, ...], and labels int [n] or None."""

    inputs: np.ndarray
    labels: np.ndarray | None = None


@dataclasses.dataclass(frozen=True)
class Source:
    """A model to export and data to check it with.

    Attributes:
        model: a plain model with zeros in its kernels.
        name: what its files are called.
        title: one line that says what it is.
        folder: where its files go by default.
        test: what files are verified on; random numbers if nothing else is there.
        train: what to fine-tune on and to choose int8 ranges by, or None.
    """

    model: keras.Model
    name: str
    title: str
    folder: pathlib.Path
    test: Examples
    train: Examples | None

    @property
    def representative(self) -> np.ndarray | None:
        """The inputs that int8 ranges are chosen by."""
        return None if self.train is None else self.train.inputs[:_REPRESENTATIVE]


def load(options: ExportOptions, refuse_dense: bool = True) -> Source:
    """Returns what the flags ask for.

    Args:
        options: the flags.
        refuse_dense: complain of a model without zeros.

    Raises:
        UsageError: if there is no such thing, it is damaged, or no ticket.
    """
    if not options.run and not options.model:
        raise UsageError(
            "Expected --run=RUN_DIR or --model=FILE.keras. Received: neither. "
            "--help lists the flags."
        )
    source = _from_run(options) if options.run else _from_file(options)
    if refuse_dense and not any((kernel.numpy() == 0).any() for kernel in kernels(source.model)):
        raise UsageError(
            f"Expected a ticket or a pruned model. Received: {source.title}, which has no weight "
            "that is 0. Nothing can be gained by exporting it."
        )
    return source


def _from_run(options: ExportOptions) -> Source:
    run_dir = RunDir(options.run)
    config = run_dir.config()
    level = _level(run_dir, options)
    if not run_dir.has(Stage(level)):
        run_dir.level_path(Stage(level), "mask.npz")  # raises: it names the levels there are
    model = _model_of_run(run_dir)
    try:
        set_masks(model, run_dir.mask(Stage(level)))
        trained = options.weights == "trained"
        set_weights(model, run_dir.trained(Stage(level)) if trained else run_dir.ticket(level))
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"Expected a run of this version. Received: {run_dir.path} ({error}). "
            "Export it with the version that wrote it."
        ) from error
    model = strip_masks(model)
    test, train = _data(run_dir, options, model)
    suffix = "" if trained else "_origin"
    density = run_dir.summary(Stage(level))["density"]
    return Source(
        model=model,
        name=f"{config.network}_level_{level:02d}{suffix}",
        title=f"{config.network} on {config.dataset}, level {level}, {100 * density:.2f} % of the "
        f"weights, {'trained' if trained else 'as training starts from them'}",
        folder=run_dir.path / "export",
        test=test,
        train=train,
    )


def _model_of_run(run_dir: RunDir) -> keras.Model:
    """Returns the masked network of a run, its weights still to be set."""
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
    return networks.build(config.network, image_shape, classes, config.seed, config.dropout_rate)


def _level(run_dir: RunDir, options: ExportOptions) -> int:
    if options.level is not None:
        return options.level
    summaries = [run_dir.summary(stage) for stage in run_dir.finished() if not stage.control]
    if not summaries or summaries[0]["level"] != 0:
        raise UsageError(
            f"Expected a run with a finished dense network. Received: {run_dir.path}, without "
            "level 0. Let the experiment run on."
        )
    best = smallest_winning(summaries, options.tolerance / 100)
    if best is None:
        raise UsageError(
            f"Expected a run with a winning ticket. Received: {run_dir.path}, where no level "
            f"reaches the dense network within {options.tolerance:g} points as fast. "
            "Choose one with --level, or a larger --tolerance."
        )
    return best["level"]


def _data(
    run_dir: RunDir, options: ExportOptions, model: keras.Model
) -> tuple[Examples, Examples | None]:
    """Returns what a run's model is tested with, and what it was trained on."""
    config = run_dir.config()
    if config.kind == "fit":
        return _given_or_random(options, model)
    # runs/<experiment>/<name>/seed_<k>; experiments keep decoded data in runs/.cache.
    caches = [folder / ".cache" for folder in run_dir.path.absolute().parents[2:3]]
    data = datasets.load(
        config.dataset,
        image_shape=model.input_shape[1:],
        validation_size=config.validation_size,
        seed=config.seed,
        data_dir=options.data_dir or run_dir.about()["data"].get("data_dir", ""),
        cache_dir=next((cache for cache in caches if cache.is_dir()), None),
    )
    return _normalized(data.test), _normalized(data.train)


def _given_or_random(
    options: ExportOptions, model: keras.Model
) -> tuple[Examples, Examples | None]:
    """Returns the examples the flags name, or random ones to test with."""
    if not options.examples:
        return Examples(_random_inputs(model)), None
    given = _read_examples(pathlib.Path(options.examples), model)
    return given, given


def _normalized(split: datasets.Split) -> Examples:
    """Returns images as networks take them, in [0, 1]; see `preprocessing.normalize`."""
    return Examples(split.images.astype(np.float32) / np.float32(255), split.labels)


def _from_file(options: ExportOptions) -> Source:
    path = pathlib.Path(options.model)
    if path.suffix != ".keras" or not path.is_file():
        raise UsageError(f"Expected a .keras file. Received: --model={path}.")
    model = strip(_load(path))
    test, train = _given_or_random(options, model)
    return Source(
        model=model,
        name=path.stem,
        title=str(path),
        folder=path.parent / "export",
        test=test,
        train=train,
    )


def _load(path: pathlib.Path) -> keras.Model:
    try:
        model = load_model(path, compile=False)
    except (OSError, ValueError, TypeError, KeyError, EOFError, zipfile.BadZipFile) as error:
        reason = str(error).strip().split("\n")[0][:200]
        raise UsageError(
            f"Expected a .keras file that Keras can load. Received: {path} ({reason}). "
            "It is damaged, or has layers of your own: export those from Python."
        ) from error
    if len(model.inputs or ()) != 1 or len(model.outputs) != 1:
        raise UsageError(
            f"Expected a model of one input and one output. Received: {path}. Export others from "
            "Python: strip, then Keras's own export."
        )
    return model


def _read_examples(path: pathlib.Path, model: keras.Model) -> Examples:
    try:
        with open(path, "rb") as file:
            loaded = np.load(file, allow_pickle=False)
            arrays = {"x": loaded} if isinstance(loaded, np.ndarray) else dict(loaded)
        inputs, labels = arrays["x"], arrays.get("y")
    except (OSError, ValueError, EOFError, KeyError, zipfile.BadZipFile) as error:
        raise UsageError(
            f"Expected a .npy file, or an .npz file with an array x. "
            f"Received: --examples={path} ({error})."
        ) from error
    shape = model.input_shape[1:]
    fits = inputs.ndim == len(shape) + 1 and all(
        want in (None, have) for want, have in zip(shape, inputs.shape[1:], strict=True)
    )
    if not fits or len(inputs) == 0 or (labels is not None and len(labels) != len(inputs)):
        raise UsageError(
            f"Expected examples of shape [n, {', '.join(map(str, shape))}] and, if any, n labels. "
            f"Received: {path} with shape {inputs.shape}"
            f"{'' if labels is None else f' and {len(labels)} labels'}."
        )
    return Examples(inputs.astype(model.inputs[0].dtype), labels)


def _random_inputs(model: keras.Model) -> np.ndarray:
    shape = model.input_shape[1:]
    if None in shape or not model.inputs[0].dtype.startswith("float"):
        raise UsageError(
            f"Expected --examples=FILE.npy: random ones cannot be made for an input of type "
            f"{model.inputs[0].dtype} and shape {shape}. Received: none."
        )
    return np.random.default_rng(0).random((_RANDOM, *shape)).astype(model.inputs[0].dtype)
