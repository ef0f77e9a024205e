"""Whole channels: what `export.compact` takes out of a model."""

from typing import TYPE_CHECKING

import numpy as np

from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.pruning.granularities import register
from lth_tf.pruning.granularities.base import Granularity, Units
from lth_tf.pruning.granularities.grouped import NONE, Grouped

with lazy_imports():
    from lth_tf.masking import model as masking
    from lth_tf.units import graph, rule

if TYPE_CHECKING:
    import keras


@register("channel")
class Channel(Granularity):
    """Filters of convolutions, units of dense layers, heads of attention.

    With its filter a channel loses its bias and its normalization's scale and shift, so it is
    exactly 0 and `export.compact` removes it and what reads it. Channels that are joined, by
    additions, products or depthwise convolutions, are kept or pruned together, at the highest
    prune rate of their layers. Inputs and outputs of the model stay, and so does what reaches a
    layer that is not known to treat each channel by itself (layer normalization, a Lambda), or
    the kernel of which is not masked, or a normalization without a scale behind e.g. a sigmoid.

    Densities count the weights that make channels; those that read a channel that is gone are
    useless too, but not counted. A prune rate is a fraction of the channels of a layer that are
    left.

    Source:
        Li et al. 2017, arXiv:1608.08710 (filters, L1 norm); groups as in Fang et al. 2023,
        arXiv:2301.12900.
    """

    def units(self, model: "keras.Model") -> Units:
        """Returns the channels of a masked model; masks their biases and normalizations."""
        parts = graph.Graph(model).parts()
        paths = {id(v): path for path, v in masking.weight_variables(model).items()}
        masked = masking.get_masks(model)
        makers = [part for part in parts if part.makes]
        made = {int(n) for part in makers for n in part.numbers.ravel()} - {rule.PINNED}
        # A filter that cannot be pruned keeps its channel.
        made -= {
            int(n) for p in makers if paths[id(p.weight)] not in masked for n in p.numbers.ravel()
        }
        if not made:
            raise UsageError(
                f"Expected a model with channels that can go. Received: model={model.name!r}, all "
                "of whose channels are inputs, outputs, or read by layers that need them all. "
                "Use another granularity."
            )
        order = np.full(1 + max(int(part.numbers.max(initial=0)) for part in parts), NONE)
        order[sorted(made)] = np.arange(len(made))
        numbers = {paths[id(part.weight)]: order[part.numbers] for part in parts}
        numbers = {path: found for path, found in numbers.items() if (found != NONE).any()}
        masking.mask_also(model, [path for path in numbers if path not in masked])
        shapes = {path: mask.shape for path, mask in masking.get_masks(model).items()}
        scored = [paths[id(part.weight)] for part in makers]
        return Grouped(numbers, shapes, scored)
