"""Which prune rate applies to a weight: that of convolutions, of the output, or of the rest."""

import keras

from lth_tf import keras_internals as internals
from lth_tf.masking.holder import layers_of, own_slots
from lth_tf.masking.layers import CONVOLUTIONS
from lth_tf.masking.model import slots_of
from lth_tf.masking.variables import recording

Owners = dict[int, keras.layers.Layer]  # id of a masked weight -> the layer it is masked in


def weight_groups(model: keras.Model) -> dict[str, str]:
    """Returns weight path -> group (conv, fc or output) of a masked model of any kind.

    The output layers are the masked layers from which the data reach an output of the
    model without passing another masked one: every head of a model with several. In a
    subclassed model or layer it is the masked layer that its `call` uses last, in
    whatever order they were made, or the last made if `call` does not run on
    placeholders. Of the others, convolutions are conv and the rest is fc.

    Args:
        model: a masked model.

    Example:
    >>> from lth_tf.masking.model import mask_model
    >>> model = keras.Sequential(
    ...     [
    ...         keras.Input((8, 8, 1)),
    ...         keras.layers.Conv2D(2, 3, name="first"),
    ...         keras.layers.Flatten(),
    ...         keras.layers.Dense(4, name="middle"),
    ...         keras.layers.Dense(2, name="last"),
    ...     ]
    ... )
    >>> weight_groups(mask_model(model))
    {'first/kernel': 'conv', 'middle/kernel': 'fc', 'last/kernel': 'output'}
    """
    owners = {id(slot.weight): layer for layer in layers_of(model) for slot in own_slots(layer)}
    outputs = {id(layer) for layer in _output_layers(model, owners)}

    def group(layer: keras.layers.Layer) -> str:
        if id(layer) in outputs:
            return "output"
        return "conv" if isinstance(layer, CONVOLUTIONS) else "fc"

    return {path: group(owners[id(slot.weight)]) for path, slot in slots_of(model).items()}


def _output_layers(
    layer: keras.layers.Layer, owners: Owners, use: internals.Use | None = None
) -> list[keras.layers.Layer]:
    """Returns the masked layers that are the last before an output of a model or layer."""
    graph = internals.graph_of(layer) if isinstance(layer, keras.Model) else None
    if graph is None:
        return _last_used(layer, owners, use)
    found: list[keras.layers.Layer] = []
    seen: set[int] = set()
    tensors = keras.tree.flatten(graph.outputs)
    while tensors:
        new = [tensor for tensor in tensors if id(tensor) not in seen]
        seen.update(map(id, new))
        tensors = []
        for inner in internals.producers(new):
            is_layer = isinstance(inner.operation, keras.layers.Layer)
            last = _output_layers(inner.operation, owners, inner) if is_layer else []
            found += last
            tensors += [] if last else inner.inputs
    return found


def _last_used(
    layer: keras.layers.Layer, owners: Owners, use: internals.Use | None
) -> list[keras.layers.Layer]:
    """Returns the masked layer at or below one that its call uses last, if there is any."""
    slots = [slot for below in layers_of(layer) for slot in own_slots(below)]
    masked = {id(slot.weight): owners[id(slot.weight)] for slot in slots}
    if len({id(owner) for owner in masked.values()}) < 2:
        return list(masked.values())[-1:]
    with recording() as reads:
        try:
            args, kwargs = (use.args, use.kwargs) if use else internals.example_call(layer)
            internals.trace_call(layer, args, kwargs)
        except Exception:  # A model's own code, on inputs that it may not be made for.
            reads.clear()
    used = [masked[id(weight)] for weight in reads if id(weight) in masked]
    return (used or list(masked.values()))[-1:]
