"""SET: dynamic sparse training that grows weights at random."""

import dataclasses
from typing import TYPE_CHECKING

from lth_tf.lazy import lazy_imports
from lth_tf.methods import register
from lth_tf.methods.exchange import Exchange, ExchangeHooks

with lazy_imports():
    import tensorflow as tf

if TYPE_CHECKING:
    import keras

    from lth_tf.config import ProcedureConfig
    from lth_tf.methods.hooks import Gradients


@register("set")
@dataclasses.dataclass(frozen=True)
class SET(Exchange):
    """Drops the smallest weights of each layer and grows as many at random places.

    Source:
        Mocanu et al. 2018, arXiv:1707.04780; schedule and densities of Evci et al. 2020,
        arXiv:1911.11134, whose baseline it is.
    """

    def label(self) -> str:
        """Returns the method in words."""
        return "SET"

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "SETHooks":
        """Returns what exchanges weights."""
        return SETHooks(self, model, rates, config)


class SETHooks(ExchangeHooks):
    """Grows weights at random places."""

    def growth(self, path: str, iteration: "tf.Tensor", gradients: "Gradients") -> "tf.Tensor":
        """Returns uniform numbers."""
        shape = self._slots[path].mask.shape
        return tf.random.stateless_uniform(shape, self.seeds(path, iteration))
