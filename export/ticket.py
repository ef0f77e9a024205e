"""What is exported: a ticket of a run, or a pruned .keras file, with data to check it by."""

import dataclasses
import os
import pathlib
import warnings

import keras

from lth_tf.config import FitConfig
from lth_tf.datasets import recorded
from lth_tf.errors import UsageError
from lth_tf.masking.model import load_model
from lth_tf.masking.stripping import strip
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.load import load_ticket, winning_level

from . import examples as examples_of
from .arrays import Arrays, part
from .examples import Examples
from .metrics import Judge, compiled_metrics
from .signature import INPUT, Signature, signature_of
from .size import kernel_arrays

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
    tolerance: float | None = None,
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
            dense network. None: the sampling error of the test data; 0: the paper's
            definition.
        examples: file of inputs, see `export.examples.read`; for runs of `model.fit`.
        data_dir: TFDS folder.
        refuse_dense: complain of a model without zeros.

    Raises:
        UsageError: if there is no such thing, it is damaged, or no ticket.
    """
    run_dir = RunDir(run)
    config = run_dir.config()
    if level is None:
        level = winning_level(run_dir, None if tolerance is None else tolerance / 100)
    model = load_ticket(run_dir, level, weights=weights, scale=False)
    trained = weights == "trained"
    signature = signature_of(model)
    if isinstance(config, FitConfig):
        test, train = _given_or_random(examples, signature)
    else:
        test, train = _data(run_dir, data_dir)
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
        judge=judge_of(run_dir.model_path) if config.kind == "fit" else None,
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
    model = strip(load_model(str(path), compile=False))
    signature = signature_of(model)
    test, train = _given_or_random(examples, signature)
    name, folder = path.stem, path.parent / "export"
    return _pruned(Ticket(model, name, str(path), folder, signature, test, train, judge_of(path)))


def _pruned(ticket: Ticket) -> Ticket:
    if not any((kernel == 0).any() for kernel in kernel_arrays(ticket.model)):
        raise UsageError(
            f"Expected a ticket or a pruned model. Received: {ticket.title}, which has no weight "
            "that is 0. Nothing can be gained by exporting it."
        )
    return ticket


def _data(run_dir: RunDir, data_dir: str) -> tuple[Examples, Examples | None]:
    """Returns what a run's model is tested with, and what it was trained on."""
    data = recorded.data_of(run_dir, data_dir)
    test, train = (
        Examples({INPUT: data.preprocessing(split.inputs)}, split.labels)
        for split in (data.test, data.train)
    )
    return test, train


def _given_or_random(examples: str, signature: Signature) -> tuple[Examples, Examples | None]:
    """Returns the examples in a file, or random ones to test with."""
    if not examples:
        return examples_of.random(signature), None
    given = examples_of.read(pathlib.Path(examples), signature)
    return given, given


def judge_of(path: pathlib.Path) -> Judge | None:
    """Returns the metric that the model in a file was compiled with."""
    try:
        with warnings.catch_warnings():
            # Nothing is trained here, so what an optimizer had saved does not matter.
            warnings.filterwarnings("ignore", "Skipping variable loading for optimizer")
            return compiled_metrics(load_model(str(path)))
    except Exception:  # a loss or metric of the user's own, or a damaged one
        return None
