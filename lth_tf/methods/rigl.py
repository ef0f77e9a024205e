"""RigL: dynamic sparse training that grows weights where the gradient is largest."""

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


@register("rigl")
@dataclasses.dataclass(frozen=True)
class RigL(Exchange):
    """Drops the smallest weights of each layer and grows as many by the dense gradient.

    Source:
        Evci et al. 2020, arXiv:1911.11134, section 3. Weights that are dropped can grow again at
        the next exchange, not at the same.
    """

    def label(self) -> str:
        """Returns the method in words."""
        return "RigL"

    def hooks(
        self, model: "keras.Model", rates: dict[str, float], config: "ProcedureConfig"
    ) -> "RigLHooks":
        """Returns what exchanges weights."""
        return RigLHooks(self, model, rates, config, dense_gradients=True)


class RigLHooks(ExchangeHooks):
    """Grows weights where the gradient of the batch is largest."""

    def growth(self, path: str, iteration: "tf.Tensor", gradients: "Gradients") -> "tf.Tensor":
        """Returns the absolute gradient."""
        return tf.abs(gradients[path])
