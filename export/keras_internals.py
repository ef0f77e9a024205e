"""Every private attribute of Keras that the export reads. Checked with Keras 3.13 to 3.15."""

from typing import Any

import keras


def all_layers(model: keras.Model) -> list[keras.layers.Layer]:
    """Returns a model and all layers below it, whatever holds them."""
    return list(model._flatten_layers(include_self=True, recursive=True))


def called_with(model: keras.Model) -> Any:
    """Returns the tensors that a Functional or Sequential model takes, nested as it takes them.

    None for a subclassed model, which has no graph of its own.
    """
    if isinstance(model, keras.Sequential):
        return model.inputs[0] if model.inputs else None
    return getattr(model, "_inputs_struct", None)


def returned(model: keras.Model) -> Any:
    """Returns the tensors that a Functional model returns, nested as it returns them."""
    return model._outputs_struct


def built_with(model: keras.Model) -> dict[str, Any]:
    """Returns argument -> shape, nested, of the first call of a subclassed model."""
    shapes = getattr(model, "_build_shapes_dict", None) or {}
    return {name.removesuffix("_shape"): shape for name, shape in shapes.items()}


def calls_in_order(model: keras.Model) -> list[Any]:
    """Returns Keras's records of the calls a Functional model consists of, as they run."""
    nodes = model._nodes_by_depth
    return [node for depth in sorted(nodes, reverse=True) for node in nodes[depth]]


def has_graph(model: keras.Model) -> bool:
    """Whether the calls that a model consists of are known."""
    return hasattr(model, "_nodes_by_depth")


def own_variables(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the variables that a layer holds itself, not those of layers below it."""
    return [*layer._trainable_variables, *layer._non_trainable_variables]
