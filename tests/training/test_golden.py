"""Results are the bits that earlier versions of the training loop gave.

Rounding depends on the processor, the number of threads and the versions of the
libraries, so goldens.json holds only for a machine like the one it was made on.
"""

import hashlib
import json
import os
import pathlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from lth_tf import datasets, networks
from lth_tf.config import ExperimentConfig
from lth_tf.masking.model import get_masks, get_weights, set_masks
from lth_tf.training.trainer import Trainer

GOLDENS = pathlib.Path(__file__).with_name("goldens.json")

CASES = {
    "lenet": ExperimentConfig(
        dataset="digits",
        batch_size=32,
        iterations=50,
        eval_interval=20,
        test_interval=20,
        optimizer="momentum",
        learning_rate=0.1,
        weight_decay=1e-3,
        lr_drops=(30,),
        warmup_iterations=10,
    ),
    "lenet_one_by_one": ExperimentConfig(
        dataset="digits", batch_size=32, iterations=5, eval_interval=1
    ),
    "conv2": ExperimentConfig(
        network="conv2",
        dataset="digits",
        batch_size=16,
        iterations=5,
        eval_interval=2,
        dropout_rate=0.5,
        augment=True,
        optimizer="momentum",
        learning_rate=0.01,
        weight_decay=1e-4,
        lr_drops=(4,),
        warmup_iterations=3,
    ),
}


def machine() -> dict:
    """What rounding depends on."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    flags = next((line for line in lines if line.startswith("flags")), "")
    return {
        "processor": next((line for line in lines if line.startswith("model name")), ""),
        "instructions": hashlib.sha256(flags.encode()).hexdigest()[:12],
        "threads": len(os.sched_getaffinity(0)),
        "versions": [tf.__version__, keras.__version__, np.__version__],
    }


def digests(config: ExperimentConfig) -> dict[str, str]:
    """Trains two levels, the second with a third of the weights; weight path -> digest."""
    shape = networks.image_shape(config.network)
    data = datasets.load("digits", image_shape=shape, seed=config.seed)
    model = networks.build(config.network, shape, 10, seed=0, dropout_rate=config.dropout_rate)
    trainer = Trainer(model, data, config)
    found = {}
    for level in range(2):
        trainer.fit()
        losses = trainer.history().arrays()["train_loss"]
        arrays = {**get_weights(model), "train_loss": losses}
        for path, array in arrays.items():
            found[f"{level}/{path}"] = hashlib.sha256(array.tobytes()).hexdigest()[:16]
        random = np.random.default_rng(level)
        set_masks(
            model,
            {p: (random.random(m.shape) < 1 / 3).astype("u1") for p, m in get_masks(model).items()},
        )
    return found


@pytest.mark.parametrize("case", CASES)
def test_weights_and_losses_are_the_golden_bits(case):
    goldens = json.loads(GOLDENS.read_text())
    if goldens["machine"] != machine():
        pytest.skip("the goldens were made on another kind of machine")
    assert digests(CASES[case]) == goldens[case]
