"""Conv-2 on CIFAR-10, iterative pruning with rewinding to initialization.

Reproduces the Conv-2 row of Figure 2 and its curves in Figures 5 and 6 of Frankle &
Carbin 2019, arXiv:1803.03635.

    python -m experiments.conv2
    python -m experiments.conv2 --prune_rate_conv=0.15
    python -m experiments.conv2 --preset=dropout
    python -m experiments.conv2 --dataset=digits --iterations=100 --levels=3

Expected (paper, 5 trials): early stop 3.5x sooner at 8.8 % of the weights, +3.4 points at 4.6 %.
"""

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="conv2",
    dataset="cifar10",
    iterations=20_000,
    batch_size=60,
    optimizer="adam",
    learning_rate=2e-4,
    levels=20,
    scope="layerwise",
    prune_rate_conv=0.1,
    prune_rate_fc=0.2,
    prune_rate_output=0.1,
    test_interval=500,
)

PRESETS = {"dropout": {"dropout_rate": 0.5, "learning_rate": 3e-4, "iterations": 60_000}}

if __name__ == "__main__":
    cli.main("conv2", CONFIG, __doc__, PRESETS)
