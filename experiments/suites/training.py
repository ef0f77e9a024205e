"""The Trainer beside Keras `fit` on the same kind of model."""

import time
from collections.abc import Iterator

import keras
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.training.optimizers import make_optimizer

from . import Options, Rate, Result, in_turn, register
from .setups import FEW, config_of, model_of, random_data, trainer_of, trainer_rate


@register("training")
def training(options: Options) -> Iterator[Result]:
    """Measures training alone, network by network.

    For convolutions `fit` has the model as Keras users have it, without masks.
    """
    for network in options.networks.split(","):
        config = config_of(network)
        masked = network == "lenet"
        rates = {
            "Trainer, masked": trainer_rate(trainer_of(config, model_of(config)), options.seconds)
        }
        for steps in (1, 100) if masked else (1,):
            name = f"fit, {steps} step{'s' if steps > 1 else ''} an execution"
            model = model_of(config, masked=masked)
            rates[name + (", masked" if masked else ", no masks")] = _fit_rate(
                model, config, steps, options.seconds
            )
        yield in_turn(f"{network}: training", rates, options.rounds)


def _fit_rate(model: keras.Model, config: ExperimentConfig, steps: int, seconds: float) -> Rate:
    data = random_data(config, FEW)
    split = data.train
    batches = (
        tf.data.Dataset.from_tensor_slices((split.images, split.labels))
        .shuffle(len(split))
        .repeat()
        .batch(config.batch_size)
        .map(lambda images, labels: (data.preprocessing(images), labels))
        .prefetch(2)
    )
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(make_optimizer(config), loss, steps_per_execution=steps)
    count = steps

    def timed() -> float:
        start = time.perf_counter()
        model.fit(batches, steps_per_epoch=count, shuffle=False, verbose=0)
        return time.perf_counter() - start

    timed()
    count = max(steps, round(seconds / timed() * count / steps) * steps)
    return lambda: count / timed()
