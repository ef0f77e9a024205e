"""Each layer by its own rate."""

from lth_tf.pruning.scopes import register
from lth_tf.pruning.scopes.base import Scope


@register("layerwise")
class Layerwise(Scope):
    """Prunes each layer by its own rate.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2.
    """
