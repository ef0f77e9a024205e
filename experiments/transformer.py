"""A small transformer on the characters of Python's manual, late rewinding.

Tickets are no matter of images: a decoder of two blocks predicts each character of the text that
every Python carries for its `help()`. Embeddings, attention and hidden layers lose their
smallest weights each level, the output layer half as many.

    python -m experiments.transformer
    python -m experiments.transformer --reinits=1 --levels=4
    python -m experiments.transformer --method=at_init --criterion=snip --scope=global

Measured (--iterations=600 --levels=4, seed 0, one core of an AMD EPYC, shared): 52.8 % of the next
characters right at the end of the dense training, 55.3 % at 70.6 % of the weights, 56.2 % at
50.0 %, 55.4 % at 35.4 %. In so short a training all are still learning, tickets the faster.
"""

from lth_tf.config import ExperimentConfig

from . import cli

CONFIG = ExperimentConfig(
    network="transformer",
    dataset="manual",
    iterations=2_000,
    batch_size=32,
    optimizer="adam",
    learning_rate=3e-3,
    warmup_iterations=100,
    levels=8,
    method="late_rewinding",
    prune_rate_fc=0.3,
    prune_rate_output=0.15,
    eval_interval=100,
).replace(rewind_iteration=150)

if __name__ == "__main__":
    cli.main("transformer", CONFIG, __doc__)
