"""LeNet-300-100 on MNIST, iterative pruning with rewinding to initialization.

Reproduces the Lenet row of Figure 2 and the iterative curves of Figures 1, 3 and 4
of Frankle & Carbin 2019, arXiv:1803.03635.

    python -m experiments.lenet
    python -m experiments.lenet --dataset=digits --iterations=1500 --levels=12

Expected (paper, 5 trials): early stop 38 % sooner at 21.1 % of the weights, test
accuracy at early stop 0.3 points better at 13.5 %, back to the dense network's
speed and accuracy at 3.6 %.
"""

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="lenet",
    dataset="mnist",
    iterations=50_000,
    batch_size=60,
    optimizer="adam",
    learning_rate=1.2e-3,
    levels=20,
    scope="layerwise",
    prune_rate_fc=0.2,
    prune_rate_output=0.1,
    test_interval=500,
)

if __name__ == "__main__":
    cli.main("lenet", CONFIG, __doc__)
