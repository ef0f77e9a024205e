"""Tickets out of run directories, as plain Keras models."""

import os

import keras

from lth_tf import networks
from lth_tf.config import GRANULARITIES, FitConfig
from lth_tf.datasets import Preprocessing
from lth_tf.errors import UsageError
from lth_tf.files import damaged
from lth_tf.masking.model import load_model, set_masks, set_weights, strip_masks
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.verdict import judge_runs


def load_ticket(
    run: RunDir | str | os.PathLike,
    level: int | None = None,
    *,
    control: str = "",
    weights: str = "trained",
    scale: bool = True,
) -> keras.Model:
    """Returns a level of a run as a plain Keras model.

    It takes the inputs as the data set holds them: what was done to them in training, such as
    dividing uint8 images by 255, is its first operation. Networks of `lth_tf.networks`
    return logits. Masks are folded into the weights: files saved from it load
    with Keras alone. It is not compiled.

    Args:
        run: a run directory, or its path.
        level: which; 0 is the dense network, None the smallest winning ticket.
        control: a control of the level, e.g. "reinit_0".
        weights: "trained", or "origin" for mask * origin, the ticket before training.
        scale: False leaves the data set's scaling to whoever calls the model.

    Raises:
        UsageError: if there is no such level, no ticket wins, or a file is damaged.

    Example::

        model = lth_tf.load_ticket("runs/lenet/default/seed_0", level=12)
        model(images)  # uint8 [n, 28, 28, 1] -> logits [n, 10]
    """
    if weights not in ("trained", "origin"):
        raise UsageError(f'Expected weights="trained" or "origin". Received: weights={weights!r}.')
    if control and weights == "origin":
        raise UsageError(
            'Expected weights="trained" of a control: what it starts from is not kept. '
            f"Received: control={control!r}, weights='origin'."
        )
    run_dir = run if isinstance(run, RunDir) else RunDir(run)
    stage = Stage(winning_level(run_dir) if level is None else level, control)
    masks = run_dir.mask(stage)
    values = run_dir.trained(stage) if weights == "trained" else run_dir.ticket(stage.level)
    model = new_network(run_dir)
    try:
        set_masks(model, masks)
        set_weights(model, values)
    except UsageError:
        raise
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"Expected a run of this version. Received: {run_dir.path} ({error}). "
            "Load it with the version that wrote it."
        ) from error
    model = strip_masks(model)
    about = run_dir.provenance().get("data", {})
    preprocessing = Preprocessing(about.get("divisor"), about.get("mean", 0.0))
    return _scaled(model, preprocessing) if scale and preprocessing.divisor else model


def new_network(run_dir: RunDir) -> keras.Model:
    """Returns the masked network of a run, its weights still to be set.

    Raises:
        UsageError: if the run does not say how to make it, or its network is not known here.
    """
    config, provenance = run_dir.config(), run_dir.provenance()
    if isinstance(config, FitConfig):
        if not run_dir.has_model():
            raise UsageError(
                f"Expected {run_dir.model_path}. Received: a run of a model that Keras could not "
                "save. Put its masks and weights into the model with lth_tf.set_masks and "
                "set_weights."
            )
        return load_model(str(run_dir.model_path), compile=False)
    try:
        shape, classes = tuple(provenance["data"]["image_shape"]), provenance["data"]["classes"]
    except (KeyError, TypeError) as error:
        raise UsageError(damaged(run_dir.path / "config.json", f"no {error}")) from error
    model = networks.build(config.network, shape, classes, config.seed, config.dropout_rate)
    GRANULARITIES.get(config.granularity)().units(model)
    return model


def winning_level(run_dir: RunDir, tolerance: float | None = None) -> int:
    """Returns the level of the smallest winning ticket.

    Args:
        run_dir: a run with a finished dense network.
        tolerance: what it may be worse by than the dense network, of accuracies a fraction;
            None is the sampling error of the test data, 0 the paper's definition.

    Raises:
        UsageError: if the dense network is not there or has not learned, or no ticket wins.
    """
    verdict = judge_runs([run_dir], tolerance=tolerance)
    if verdict.smallest is None:
        within = "its sampling error" if tolerance is None else f"{100 * tolerance:g} points"
        why = (
            verdict.nothing or f"no level is as good as the dense one within {within}, and as fast"
        )
        raise UsageError(
            f"Expected a run with a winning ticket. Received: {run_dir.path}: {why}. "
            "Choose a level, or a larger tolerance.",
            arguments=("level", "tolerance"),
        )
    return verdict.smallest.level


def _scaled(model: keras.Model, preprocessing: Preprocessing) -> keras.Model:
    inputs = keras.Input(model.input_shape[1:])
    return keras.Model(inputs, model(preprocessing(inputs)), name=model.name)
