"""Where a level starts: which weights the surviving connections are put back to."""

import keras
import numpy as np

from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.layers import get_weights, set_masks, set_weights
from lth_tf.masks import Masks
from lth_tf.seeding import stream_seed
from lth_tf.training import Trainer

Weights = dict[str, np.ndarray]


def new_model(config: ExperimentConfig, data: Data, *stream: str | int) -> keras.Model:
    """Returns the config's network, masked and dense, initialized from a stream.

    Args:
        config: network and seed.
        data: gives the shape of an image and the number of classes.
        *stream: name of the random stream, e.g. "init".

    Raises:
        UsageError: if there is no such network.
    """
    seed = stream_seed(config.seed, *stream)
    return networks.build(config.network, data.image_shape, data.classes, seed)


def origin(model: keras.Model, trainer: Trainer, config: ExperimentConfig) -> Weights:
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


def rewind(model: keras.Model, masks: Masks, weights: Weights) -> None:
    """Makes the model a ticket: masks it, and puts the survivors back to `weights`."""
    set_masks(model, masks)
    set_weights(model, weights)
