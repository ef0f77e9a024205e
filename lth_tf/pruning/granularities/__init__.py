"""What is kept or pruned as one: a weight, a channel, a block; one file a granularity."""

from lth_tf.config import GRANULARITIES

register = GRANULARITIES.register
