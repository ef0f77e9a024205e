"""Every layer keeps the same fraction."""

from lth_tf.pruning.scopes import register
from lth_tf.pruning.scopes.base import LayerDensities, Shapes


@register("uniform")
class Uniform(LayerDensities):
    """Every layer keeps the same fraction.

    Source:
        Frankle et al. 2021, arXiv:2009.08576 (random pruning); Evci et al. 2020,
        arXiv:1911.11134, section 3 (uniform).
    """

    def densities(self, shapes: Shapes, density: float) -> dict[str, float]:
        """Returns weight path -> fraction of it to keep."""
        return dict.fromkeys(shapes, density)
