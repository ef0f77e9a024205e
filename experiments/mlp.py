"""A multilayer perceptron on a table, iterative pruning with rewinding to initialization.

Tickets are no matter of images: the columns of breast_cancer are measures of cell nuclei. Small
tables, wine as well, are in scikit-learn's wheel; from Python any table is taken, see
`lth_tf.from_arrays`.

    python -m experiments.mlp
    python -m experiments.mlp --dataset=wine --levels=10
    python -m experiments.mlp --method=at_init --criterion=synflow --scope=global

Measured (seed 0, 2 cores of an AMD EPYC, shared): 98.2 % of 114 test rows dense, 97.4 to 98.2 % at
early stop down to 3.6 % of the weights: the table is easy, and differences below 2.6 points are
sampling error. Down to 8.7 % of the weights tickets are as good and as fast by the paper's
definition. A quarter of a minute.
"""

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="mlp",
    dataset="breast_cancer",
    iterations=1_000,
    batch_size=32,
    optimizer="adam",
    learning_rate=1e-3,
    levels=15,
    eval_interval=20,
)

if __name__ == "__main__":
    cli.main("mlp", CONFIG, __doc__)
