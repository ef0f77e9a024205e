"""VGG-19 on CIFAR-10, global iterative pruning.

Reproduces the VGG-19 row of Figure 2 and the curves of Figure 7 of Frankle & Carbin
2019, arXiv:1803.03635. The output layer is not pruned.

    python -m experiments.vgg19
    python -m experiments.vgg19 --preset=warmup
    python -m experiments.vgg19 --preset=low_lr
    python -m experiments.vgg19 --dataset=digits --iterations=50 --levels=2

Expected (paper): at rate 0.1 no winning ticket; at 0.01 within a point of the dense
network down to 3.5 % of the weights; with warm-up tickets down to 1.5 %.
"""

from typing import Any

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="vgg19",
    dataset="cifar10",
    iterations=112_480,
    batch_size=64,
    optimizer="momentum",
    learning_rate=0.1,
    momentum=0.9,
    # 160 epochs of 703 iterations; the rate falls after 80 and 120 of them.
    lr_drops=(56_240, 84_360),
    weight_decay=1e-4,
    augment=True,
    levels=20,
    scope="global",
    prune_rate_conv=0.2,
    prune_rate_fc=0.0,
    prune_rate_output=0.0,
    test_interval=1_000,
)

PRESETS: dict[str, dict[str, Any]] = {
    "low_lr": {"learning_rate": 0.01},
    "warmup": {"warmup_iterations": 10_000},
}

if __name__ == "__main__":
    cli.main("vgg19", CONFIG, __doc__, PRESETS)
