"""All layers of the same rate are ranked together."""

from lth_tf.pruning.scopes import register
from lth_tf.pruning.scopes.base import Rates, Scope


@register("global")
class Global(Scope):
    """Ranks the weights of all layers that share a rate together.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 4.
    """

    def pools(self, rates: Rates) -> dict[str, list[str]]:
        """Returns the paths of each rate."""
        pools: dict[str, list[str]] = {}
        for path, rate in sorted(rates.items(), key=lambda item: float(item[1])):
            pools.setdefault(f"layers of prune rate {float(rate):g}", []).append(path)
        return pools
