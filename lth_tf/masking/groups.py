"""Which prune rate applies to a weight: that of convolutions, of the output, or of the rest."""

import keras

from lth_tf.masking import keras_internals as internals
from lth_tf.masking.holder import layers_of, own_slots
from lth_tf.masking.layers import CONVOLUTIONS
from lth_tf.masking.model import slots_of
from lth_tf.masking.variables import recording


def weight_groups(model: keras.Model) -> dict[str, str]:
    """Returns weight path -> group (conv, fc or output) of a masked model of any kind.

    The output layers are the masked layers from which the data reach an output of the
    model without passing another masked one: every head of a model with several. In a
    subclassed model it is the masked layer that its `call` uses last, in whatever
    order the layers were made. Of the others, convolutions are conv and the rest is fc.

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
    model: keras.layers.Layer, owners: dict[int, keras.layers.Layer]
) -> list[keras.layers.Layer]:
    """Returns the masked layers that are the last before an output."""
    graph = internals.graph_of(model) if isinstance(model, keras.Model) else None
    if graph is None:
        last = _last_used(model, owners)
        return [last] if last is not None else []
    found, seen = [], set()
    tensors = keras.tree.flatten(graph.outputs)
    while tensors:
        new = [tensor for tensor in tensors if id(tensor) not in seen]
        seen.update(map(id, new))
        tensors = []
        for operation, inputs in internals.producers(new):
            layer = operation if isinstance(operation, keras.layers.Layer) else None
            last = _output_layers(layer, owners) if layer is not None else []
            found += last
            tensors += inputs if not last else []
    return found


def _last_used(
    layer: keras.layers.Layer, owners: dict[int, keras.layers.Layer]
) -> keras.layers.Layer | None:
    """Returns which masked layer at or below one its call uses last, or None."""
    slots = [slot for below in layers_of(layer) for slot in own_slots(below)]
    if not slots:
        return None
    made_last = owners[id(slots[-1].weight)]
    if not isinstance(layer, keras.Model):
        return made_last
    with recording() as reads:
        try:
            internals.trace_call(layer)
        except Exception:  # A model's own code, on inputs it may not be made for.
            return made_last
    used = [owners[id(weight)] for weight in reads if id(weight) in owners]
    return used[-1] if used else made_last
