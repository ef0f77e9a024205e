"""Masks in place on the layers of any built Keras 3 model.

`mask_model` turns `Dense` into `MaskedDense`, `Conv2D` into `MaskedConv2D` and so
on: same object, same variables, and a non-trainable uint8 mask beside every
weight. Where the layer reads its weight it gets `weight * mask`, so the pruned
weights take no part in the output and their gradient is exactly 0.
"""

from collections.abc import Callable, Iterable

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks, check_same_weights
from lth_tf.masking.layers import (
    CONVOLUTIONS,
    drop_masks,
    layers_of,
    mask_where,
    masked_class,
    own_slots,
)


def mask_model(
    model: keras.Model,
    skip: Iterable[str] | Callable[[str], bool] = (),
) -> keras.Model:
    """Adds masks, all ones, to the weights of a built model, in place.

    Every trainable variable of rank >= 2 that a layer keeps as an attribute gets one,
    except biases and the parameters of normalization layers. The model computes what
    it did before. A model that has masks already keeps them. Load weights that were
    saved without masks before.

    Args:
        model: any built Keras 3 model: Sequential, Functional or subclassed,
            nested or not.
        skip: what to leave unmasked: names of layers or paths of weights, or a
            function that is given the path of a weight, e.g. "fc1/kernel".

    Returns:
        `model`.

    Raises:
        UsageError: if the model is not built, a name in `skip` fits nothing, or
            there is no weight that can carry a mask.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")])
    >>> {path: mask.shape for path, mask in get_masks(mask_model(model)).items()}
    {'fc/kernel': (4, 3)}
    """
    if not model.built:
        raise UsageError(
            f"Expected a built model. Received: model={model.name!r}, which has no weights yet. "
            "Call it on a batch, or model.build(input_shape), first."
        )
    skipped = _skip_rule(model, skip)
    before = len(_masks_of_weights(model))
    with model.distribute_strategy.scope():
        mask_where(layers_of(model), lambda layer, variable: not skipped(layer, variable))
    if not _slots(model):
        raise UsageError(
            f"Expected a model with at least one weight to mask (a trainable variable of rank >= 2 "
            f"that is no bias). Received: model={model.name!r}, which has none left."
        )
    if len(_masks_of_weights(model)) > before:
        _forget_compiled_functions(model)
    return model


def strip_masks(model: keras.Model) -> keras.Model:
    """Folds the masks into the weights and gives back the original classes, in place.

    Afterwards the model knows nothing of masks: it computes the same, its pruned
    weights are 0, and a file saved from it loads without lth_tf.

    Returns:
        `model`.
    """
    zero_pruned(model)
    for layer in layers_of(model):
        drop_masks(layer)
    _forget_compiled_functions(model)
    return model


def get_masks(model: keras.Model) -> Masks:
    """Returns weight path -> uint8 mask, in the order of the model's layers."""
    return {path: to_numpy(mask) for path, (_, mask) in _slots(model).items()}


def set_masks(model: keras.Model, masks: Masks) -> None:
    """Assigns all masks of a model and sets the weights they prune to 0.

    Args:
        model: a masked model.
        masks: weight path -> array of 0 and 1, for every masked weight.

    Raises:
        ValueError: if paths or shapes differ from the model's, or a value is
            neither 0 nor 1. Nothing is assigned then.
    """
    slots = _slots(model)
    masks = {path: np.asarray(mask) for path, mask in masks.items()}
    check_same_weights({path: mask for path, (_, mask) in slots.items()}, masks)
    for path, mask in masks.items():
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"Expected 0 or 1 in the mask of {path!r}. Received: {np.unique(mask)[:5]}."
            )
    for path, (raw, mask) in slots.items():
        value = np.asarray(masks[path], np.uint8)
        mask.assign(value)
        raw.assign(to_numpy(raw) * value.astype(raw.dtype))


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns path -> array of every weight, pruned weights as 0.

    Biases, normalization parameters and moving statistics are included; masks
    and the state of random generators are not.
    """
    masks = get_masks(model)
    weights = {}
    for path, variable in weight_variables(model).items():
        value = to_numpy(variable)
        weights[path] = value * masks[path].astype(value.dtype) if path in masks else value
    return weights


def set_weights(model: keras.Model, weights: dict[str, np.ndarray]) -> None:
    """Assigns every weight of a model; those its masks prune become 0.

    Raises:
        ValueError: if paths or shapes differ from the model's. Nothing is
            assigned then.
    """
    variables = weight_variables(model)
    check_same_weights(variables, weights)
    masks = get_masks(model)
    for path, variable in variables.items():
        value = np.asarray(weights[path])
        if path in masks:
            value = value * masks[path].astype(value.dtype)
        variable.assign(value)


def weight_groups(model: keras.Model) -> dict[str, str]:
    """Returns weight path -> group (conv, fc or output) of a masked model of any kind.

    Weights of convolutions are conv, those of the last masked layer are output, and
    all others are fc.

    Example:
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
    owners = {id(raw): layer for layer in layers_of(model) for raw, _ in own_slots(layer)}
    of_path = {path: owners[id(raw)] for path, (raw, _) in _slots(model).items()}
    *_, last = of_path.values()

    def group(layer: keras.layers.Layer) -> str:
        if layer is last:
            return "output"
        return "conv" if isinstance(layer, CONVOLUTIONS) else "fc"

    return {path: group(layer) for path, layer in of_path.items()}


def zero_pruned(model: keras.Model) -> None:
    """Sets the pruned weights of a model to 0 where they are stored.

    They take no part in the model's output in any case; this makes them 0 for
    whoever reads the variables too.
    """
    for raw, mask in _slots(model).values():
        raw.assign(raw * keras.ops.cast(mask, raw.dtype))


def weight_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns path -> variable of every weight: no masks, no random state.

    A path is made of the names of the layers from below the model down to the
    weight, e.g. "fc1/kernel". It is the variable's path in Keras but for
    wrapped layers, whose path there changes when they are saved and loaded.

    Raises:
        UsageError: if two weights share a path.
    """
    masks = {id(mask) for mask in _masks_of_weights(model).values()}
    paths: dict[int, str] = {}
    _name_weights(model, "", paths)
    found: dict[str, keras.Variable] = {}
    for weight in model.weights:
        if id(weight) in masks:
            continue
        path = paths.get(id(weight), weight.path)
        if path in found:
            raise UsageError(
                f"Expected a path of its own for every weight. Received: two at {path!r}. "
                "Give the layers different names."
            )
        found[path] = weight
    return found


def random_states(model: keras.Model) -> list[keras.Variable]:
    """Returns the states of a model's random generators, e.g. those of its dropout."""
    return [v for v in model.variables if v.name == "seed_generator_state"]


def load_model(path: str, custom_objects: dict[str, type] | None = None, **kwargs) -> keras.Model:
    """Loads a .keras file, masked or not.

    The same as `keras.models.load_model` after `import lth_tf.masking.model`, and also
    knows the masked classes of custom layers and models that are registered with Keras
    or given here.

    Args:
        path: a .keras file.
        custom_objects: name -> class, as in `keras.models.load_model`.
        **kwargs: passed on.
    """
    for item in [*(custom_objects or {}).values(), *keras.saving.get_custom_objects().values()]:
        if isinstance(item, type) and issubclass(item, keras.layers.Layer):
            masked_class(item)
    return keras.models.load_model(path, custom_objects=custom_objects, **kwargs)


def to_numpy(variable: keras.Variable) -> np.ndarray:
    """Returns a copy of a variable's value; of bfloat16, which numpy does not know, as float32."""
    value = np.array(keras.ops.convert_to_tensor(variable).numpy())
    return value.astype(np.float32) if value.dtype.kind == "V" else value


def _slots(model: keras.Model) -> dict[str, tuple[keras.Variable, keras.Variable]]:
    masks = _masks_of_weights(model)
    return {
        path: (weight, masks[id(weight)])
        for path, weight in weight_variables(model).items()
        if id(weight) in masks
    }


def _name_weights(layer: keras.layers.Layer, prefix: str, paths: dict[int, str]) -> None:
    """Adds id -> path of the weights of a layer and those below it."""
    for weight in layer._trainable_variables + layer._non_trainable_variables:
        paths.setdefault(id(weight), prefix + weight.name)
    for inner in layer._layers:
        if isinstance(inner, keras.layers.Layer):
            _name_weights(inner, f"{prefix}{inner.name}/", paths)


def _masks_of_weights(model: keras.Model) -> dict[int, keras.Variable]:
    return {id(raw): mask for layer in layers_of(model) for raw, mask in own_slots(layer)}


def _skip_rule(
    model: keras.Model, skip: Iterable[str] | Callable[[str], bool]
) -> Callable[[keras.layers.Layer, keras.Variable], bool]:
    paths = {id(weight): path for path, weight in weight_variables(model).items()}
    if callable(skip):
        return lambda layer, weight: skip(paths[id(weight)])
    names = {skip} if isinstance(skip, str) else set(skip)
    layers = layers_of(model)
    for name in sorted(names - {layer.name for layer in layers} - set(paths.values())):
        raise UsageError(
            f"Expected names of layers or paths of weights in skip. Received: {name!r}, "
            f"which model {model.name!r} does not have."
        )
    below = {id(sub) for layer in layers if layer.name in names for sub in layers_of(layer)}
    return lambda layer, weight: id(layer) in below or paths[id(weight)] in names


def _forget_compiled_functions(model: keras.Model) -> None:
    """Makes `fit` and its kin trace the model anew: they hold its old classes."""
    model.train_function = model.test_function = model.predict_function = None
