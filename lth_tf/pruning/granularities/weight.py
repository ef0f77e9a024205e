"""Each weight by itself."""

from typing import TYPE_CHECKING

from lth_tf.pruning.granularities import register
from lth_tf.pruning.granularities.base import EVERY_WEIGHT, Granularity, Units

if TYPE_CHECKING:
    import keras


@register("weight")
class Weight(Granularity):
    """Each weight by itself.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2.
    """

    def units(self, model: "keras.Model") -> Units:
        """Returns each weight as a unit."""
        return EVERY_WEIGHT
