"""Trainers, models and images that the suites measure."""

import dataclasses
import time
from typing import Any

import keras
import numpy as np

from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data, Split
from lth_tf.masking.model import get_masks, set_masks, strip_masks
from lth_tf.training.trainer import Trainer

from ..default_config import default_config
from . import Rate

FEW = 60  # examples of a set where evaluation is not what is measured


def config_of(network: str) -> ExperimentConfig:
    """Returns the values of a network's own program, its learning rate constant."""
    return dataclasses.replace(default_config(network)[0], lr_drops=())


def model_of(config: ExperimentConfig, masked: bool = True) -> keras.Model:
    """Returns a config's network, masked and dense, or without masks."""
    shape = networks.image_shape(config.network)
    model = networks.build(config.network, shape, 10, seed=0)
    return model if masked else strip_masks(model)


def ticket_masks(model: keras.Model, density: float, seed: int = 0) -> None:
    """Masks a model as tickets of that density are: by its weights, outputs less than the rest.

    Outputs lose half as many per cent a level, as in the paper; inputs near the edge of an image
    go first, as they do in trained networks.
    """
    random = np.random.default_rng(seed)
    masks = get_masks(model)
    for path, mask in masks.items():
        kept = density**0.5 if path == list(masks)[-1] else density
        scores = random.random(mask.shape)
        if path == list(masks)[0] and mask.shape[0] == 784:
            away = np.abs(np.arange(28) - 13.5) / 13.5
            middle = 1 - np.maximum(away[:, np.newaxis], away)
            scores = scores * (0.05 + middle).reshape(-1, 1)
        border = np.quantile(scores, 1 - kept) if kept < 1 else -1
        masks[path] = (scores > border).astype(np.uint8)
    set_masks(model, masks)


def random_data(config: ExperimentConfig, validation: int, test: int = FEW) -> Data:
    """Returns random images of a network's shape, 20,000 to train on."""
    random = np.random.default_rng(0)
    shape = networks.image_shape(config.network)

    def split(size: int) -> Split:
        images = random.integers(0, 256, (size, *shape), np.uint8)
        return Split(images, random.integers(0, 10, size, np.int32))

    return Data("random", split(20_000), split(validation), split(test), 10)


def trainer_of(
    config: ExperimentConfig,
    model: keras.Model,
    validation: int = FEW,
    interval: int | None = None,
    iterations: int = 10**9,
    test_interval: int = 0,
    **options: Any,
) -> Trainer:
    """Returns a Trainer of random images that evaluates rarely, or every `interval`."""
    interval = interval or (1_000 if config.network == "lenet" else 10)
    config = dataclasses.replace(
        config, iterations=iterations, eval_interval=interval, test_interval=test_interval
    )
    test = 10_000 if test_interval else FEW
    return Trainer(model, random_data(config, validation, test), config, **options)


def trainer_rate(trainer: Trainer, seconds: float) -> Rate:
    """Returns what measures iterations a second of a Trainer that goes on and on."""
    evaluations = trainer.evaluations()
    next(evaluations)
    next(evaluations)  # compiled

    def rate() -> float:
        start, first = time.perf_counter(), trainer.iteration
        while time.perf_counter() - start < seconds:
            next(evaluations)
        return (trainer.iteration - first) / (time.perf_counter() - start)

    return rate
