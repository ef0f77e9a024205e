"""Resident memory over 20 levels of LeNet in one process."""

import os
from collections.abc import Iterator

import numpy as np

from lth_tf import pruning
from lth_tf.masking.model import get_masks, get_weights, set_masks, set_weights

from . import Options, Result, register
from .setups import config_of, model_of, trainer_of


@register("memory")
def memory(options: Options) -> Iterator[Result]:
    """Measures the resident memory after each of 21 levels of 500 iterations."""
    config = config_of("lenet")
    model = model_of(config)
    trainer = trainer_of(config, model, validation=5_000, interval=100, iterations=500)
    origin, sizes = get_weights(model), []
    for _ in range(21):
        set_weights(model, origin)
        trainer.fit()
        trained, masks = get_weights(model), get_masks(model)
        scores = {path: np.abs(trained[path]) for path in masks}
        set_masks(model, pruning.choose(scores, masks, dict.fromkeys(masks, 0.2), "layerwise"))
        with open("/proc/self/statm") as file:
            sizes.append(int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6)
    growth = 100 * (max(sizes[2:]) / sizes[2] - 1)
    yield Result(
        "lenet: resident memory of 21 levels",
        "MB",
        {"after level 2": [sizes[2]], "after level 20": [sizes[-1]]},
        note=f"{growth:.1f} % more than after level 2 at most.",
    )
