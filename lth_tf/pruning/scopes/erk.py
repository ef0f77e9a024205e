"""Layers are as dense as the sum of their dimensions over the product (ERK)."""

from lth_tf.pruning import densities
from lth_tf.pruning.scopes import register
from lth_tf.pruning.scopes.base import LayerDensities, Shapes


@register("erk")
class ErdosRenyiKernel(LayerDensities):
    """Layers are as dense as the sum of their dimensions over the product (ERK).

    Source:
        Evci et al. 2020, arXiv:1911.11134, section 3.
    """

    def densities(self, shapes: Shapes, density: float) -> dict[str, float]:
        """Returns weight path -> fraction of it to keep."""
        return densities.erk(shapes, density)
