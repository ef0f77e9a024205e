"""Deeper layers keep less, quadratically; the last keeps 0.3."""

from lth_tf.pruning import densities
from lth_tf.pruning.scopes import register
from lth_tf.pruning.scopes.base import LayerDensities, Shapes


@register("smart_ratio")
class SmartRatio(LayerDensities):
    """Deeper layers keep less, quadratically; the last keeps 0.3.

    Source:
        Su et al. 2020, arXiv:2009.11094, section 5.
    """

    def densities(self, shapes: Shapes, density: float) -> dict[str, float]:
        """Returns weight path -> fraction of it to keep."""
        return densities.smart_ratio(shapes, density)
