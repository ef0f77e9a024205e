"""Conv-4 on CIFAR-10, iterative pruning with rewinding to initialization.

Reproduces the Conv-4 row of Figure 2 and its curves in Figures 5 and 6 of Frankle &
Carbin 2019, arXiv:1803.03635.

    python -m experiments.conv4
    python -m experiments.conv4 --prune_rate_conv=0.15
    python -m experiments.conv4 --preset=dropout
    python -m experiments.conv4 --dataset=digits --iterations=100 --levels=3

Expected (paper, 5 trials): early stop 3.5x sooner at 9.2 % of the weights, +3.5 points at 11.1 %.
"""

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="conv4",
    dataset="cifar10",
    iterations=25_000,
    batch_size=60,
    optimizer="adam",
    learning_rate=3e-4,
    levels=20,
    scope="layerwise",
    prune_rate_conv=0.1,
    prune_rate_fc=0.2,
    prune_rate_output=0.1,
    test_interval=500,
)

PRESETS = {"dropout": {"dropout_rate": 0.5, "learning_rate": 2e-4, "iterations": 75_000}}

if __name__ == "__main__":
    cli.main("conv4", CONFIG, __doc__, PRESETS)
