"""Where a level starts: which weights the surviving connections are put back to."""

import dataclasses
from collections.abc import Iterator
from typing import TYPE_CHECKING

import keras
import numpy as np

from lth_tf import networks, pruning
from lth_tf.config import ExperimentConfig, ProcedureConfig
from lth_tf.masking.arrays import Masks
from lth_tf.masking.model import get_weights, set_masks, set_weights
from lth_tf.runs.run_dir import RunDir, Stage
from lth_tf.seeding import generator, stream_seed

if TYPE_CHECKING:
    # They need TensorFlow, which a level of `fit` under another backend does not.
    from lth_tf.datasets import Data
    from lth_tf.training.trainer import Trainer

Weights = dict[str, np.ndarray]


def new_model(config: ExperimentConfig, data: "Data", *stream: str | int) -> keras.Model:
    """Returns the config's network, masked and dense, initialized from a stream.

    Args:
        config: network and seed.
        data: gives the shape of an image and the number of classes.
        *stream: name of the random stream, e.g. "init".

    Raises:
        UsageError: if there is no such network.
    """
    seed = stream_seed(config.seed, *stream)
    return networks.build(
        config.network, data.image_shape, data.classes, seed, dropout_rate=config.dropout_rate
    )


def origin(model: keras.Model, trainer: "Trainer", config: ExperimentConfig) -> Weights:
    """Returns the weights every level starts from; leaves the model at them.

    They are the model's own if `config.rewind_iteration` is 0, else those that
    training the dense network for that many iterations gives.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2 (initialization);
        Frankle et al. 2020, arXiv:1912.05671 (iteration k).
    """
    if config.rewind_iteration:
        trainer.restart()
        for _ in trainer.evaluations(until=config.rewind_iteration):
            pass
    return get_weights(model)


def next_ticket(
    run_dir: RunDir, level: int, rates: dict[str, float], config: ProcedureConfig
) -> tuple[Masks, Weights]:
    """Returns the masks of a level and the weights it starts from.

    Nothing but the run directory is needed: the masks are those on the disk if the
    level is done, else they follow from the training before it.

    Args:
        run_dir: has the origin, and the stages the level is pruned from.
        level: at least 1.
        rates: weight path -> fraction of its remaining weights pruned a level.
        config: strategy, start, method, scope and seed.

    Raises:
        UsageError: if a layer would lose its last weight.
    """
    source = Stage(0 if config.strategy == "oneshot" else level - 1)
    trained, origin = run_dir.trained(source), run_dir.origin()
    start = trained if config.start == "continue" else origin
    if run_dir.has(Stage(level)):
        return run_dir.mask(Stage(level)), start
    return pruning.prune(run_dir.mask(source), trained, origin, rates, config, level), start


@dataclasses.dataclass(frozen=True)
class Ticket:
    """What a training starts from.

    Attributes:
        control: "" for the ticket itself, else the control's name.
        masks: weight path -> uint8 array.
        weights: path -> array of every weight, pruned ones included.
        iteration: the iteration that training goes on from: that of the origin, or
            0 for a new initialization.
    """

    control: str
    masks: Masks
    weights: Weights
    iteration: int


def at_level(
    level: int,
    masks: Masks,
    start: Weights,
    origin: Weights,
    config: ExperimentConfig,
    data: "Data",
) -> Iterator[Ticket]:
    """Yields a level's ticket and then its controls.

    Args:
        level: names the random streams of the controls.
        masks: the level's masks.
        start: the weights its ticket starts from.
        origin: dense weights for random masks: those of a trained ticket are 0 where
            another mask keeps them.
        config: number of controls of each kind, network and seed.
        data: gives the shape of an image and the number of classes.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635: section 2 (random
        reinitialization), Figure 1 and appendix E (random masks).
    """
    rewound = config.rewind_iteration
    yield Ticket("", masks, start, rewound)
    for k in range(config.reinits):
        control = f"reinit_{k}"
        yield Ticket(control, masks, _new_weights(config, data, control, level), 0)
    for k in range(config.random_masks):
        control = f"random_{k}"
        weights, iteration = origin, rewound
        if config.random_mask_weights == "new":
            weights, iteration = _new_weights(config, data, control, level), 0
        shuffle = generator(config.seed, control, level, "mask")
        yield Ticket(control, shuffled(masks, shuffle), weights, iteration)


def shuffled(masks: Masks, generator: np.random.Generator) -> Masks:
    """Returns random masks that keep as many weights of each layer as `masks`."""
    return {
        path: generator.permutation(mask.ravel()).reshape(mask.shape)
        for path, mask in masks.items()
    }


def _new_weights(config: ExperimentConfig, data: "Data", control: str, level: int) -> Weights:
    return get_weights(new_model(config, data, control, level, "init"))


def rewind(model: keras.Model, masks: Masks, weights: Weights) -> None:
    """Makes the model a ticket: masks it, and puts the survivors back to `weights`."""
    set_masks(model, masks)
    set_weights(model, weights)
