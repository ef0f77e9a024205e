"""Resnet-18 (the 20-layer CIFAR ResNet) on CIFAR-10, global iterative pruning.

Reproduces the Resnet-18 row of Figure 2 and the curves of Figure 8 of Frankle &
Carbin 2019, arXiv:1803.03635. Shortcuts and the output layer are not pruned.

    python -m experiments.resnet18
    python -m experiments.resnet18 --preset=warmup
    python -m experiments.resnet18 --preset=low_lr
    python -m experiments.resnet18 --dataset=digits --iterations=100 --levels=3

Expected (paper): at rate 0.01 89.5 % from 41.7 to 21.9 % of the weights; the dense
network at rate 0.1 90.5 %; with warm-up to 0.03 90.5 % at 27.1 %, and tickets down to
11.8 %.
"""

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="resnet18",
    dataset="cifar10",
    iterations=30_000,
    batch_size=128,
    optimizer="momentum",
    learning_rate=0.1,
    momentum=0.9,
    lr_drops=(20_000, 25_000),
    weight_decay=1e-4,
    augment=True,
    levels=20,
    scope="global",
    prune_rate_conv=0.2,
    prune_rate_fc=0.0,
    prune_rate_output=0.0,
    test_interval=1_000,
)

PRESETS = {
    "low_lr": {"learning_rate": 0.01},
    "warmup": {"learning_rate": 0.03, "warmup_iterations": 20_000},
}

if __name__ == "__main__":
    cli.main("resnet18", CONFIG, __doc__, PRESETS)
