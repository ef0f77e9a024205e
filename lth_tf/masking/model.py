"""Masks in place on the layers of any built Keras 3 model.

`mask_model` puts a non-trainable boolean mask beside every weight. Whatever reads the
weight in a call gets it with 0 where it is pruned, so pruned weights take no part in
the output and their gradient is exactly 0. The layers stay the same objects with the
same variables; their classes become `MaskedDense`, `MaskedConv2D` and so on, by which
Keras saves them with their masks.
"""

from collections.abc import Callable, Iterable
from typing import Any

import keras
import numpy as np

from lth_tf import keras_internals as internals
from lth_tf.errors import UsageError
from lth_tf.masking import keras_file
from lth_tf.masking.arrays import Masks, check_same_weights, zero_where_pruned
from lth_tf.masking.effective import Effective
from lth_tf.masking.holder import holder_of, layers_of, own_slots
from lth_tf.masking.layers import drop_masks, fold, mask_where
from lth_tf.masking.legacy import know_old_name
from lth_tf.masking.variables import Slot, store, stored_value, to_numpy


def mask_model(
    model: keras.Model,
    skip: Iterable[str] | Callable[[str], bool] = (),
) -> keras.Model:
    """Adds masks, all ones, to the weights of a built model, in place.

    Every trainable variable of rank >= 2 of a layer gets one, except biases and the
    parameters of normalization layers. In a layer with LoRA adapters it is the weight
    they are added to, though it is frozen; the adapters stay dense. The model computes
    what it did before. A model that has masks already keeps them. Load weights that
    were saved without masks before.

    Args:
        model: any built Keras 3 model: Sequential, Functional or subclassed,
            nested or not.
        skip: what to leave unmasked: names of layers or paths of weights, or a
            function that is given the path of a weight, e.g. "fc1/kernel".

    Returns:
        `model`.

    Raises:
        UsageError: if it is no Keras 3 model or not built, a name in `skip` fits
            nothing, or there is no weight that can carry a mask.

    Example:
    >>> model = keras.Sequential([keras.Input((4,)), keras.layers.Dense(3, name="fc")])
    >>> {path: mask.shape for path, mask in get_masks(mask_model(model)).items()}
    {'fc/kernel': (4, 3)}
    """
    _check_model(model)
    skipped = _skip_rule(model, skip)
    with internals.variable_scope(model):
        masked = mask_where(layers_of(model), lambda layer, weight: not skipped(layer, weight))
    if not slots_of(model):
        raise UsageError(
            f"Expected a model with at least one weight to mask (a trainable variable of rank >= 2 "
            f"that is no bias). Received: model={model.name!r}, which has none left."
        )
    if masked:
        internals.forget_compiled_functions(masked)
    return model


def mask_also(model: keras.Model, paths: Iterable[str]) -> None:
    """Adds masks of ones to more weights of a masked model, of any kind, biases included.

    Args:
        model: a masked model.
        paths: of weights; those that have masks keep them.
    """
    wanted = set(paths)
    ids = {id(v) for path, v in weight_variables(model).items() if path in wanted}
    with internals.variable_scope(model):
        masked = mask_where(layers_of(model), lambda _, weight: id(weight) in ids, any_kind=True)
    if masked:
        internals.forget_compiled_functions(masked)


def strip_masks(model: keras.Model) -> keras.Model:
    """Folds the masks into the weights and gives back the original classes, in place.

    Afterwards the model knows nothing of masks: it computes the same, its pruned
    weights are 0, and a file saved from it loads without lth_tf. A weight with a rule
    of its own (`set_effective`) becomes what the rule makes of it. LoRA adapters stay
    beside the weight that they are added to.

    Returns:
        `model`.
    """
    weights = [slot.weight for slot in slots_of(model).values()]
    for layer in layers_of(model):
        fold(layer)
    for layer in layers_of(model):
        drop_masks(layer)
    internals.forget_compiled_functions(weights)
    return model


def get_masks(model: keras.Model) -> Masks:
    """Returns weight path -> uint8 mask, in the order of the model's layers."""
    return {path: to_numpy(slot.mask).astype(np.uint8) for path, slot in slots_of(model).items()}


def set_masks(model: keras.Model, masks: Masks) -> None:
    """Assigns all masks of a model and sets the weights they prune to 0.

    Args:
        model: a masked model.
        masks: weight path -> array of 0 and 1, for every masked weight.

    Raises:
        ValueError: if the model has no masks, paths or shapes differ from the
            model's, or a value is neither 0 nor 1. Nothing is assigned then.
    """
    slots = masked_slots(model)
    masks = {path: np.asarray(mask) for path, mask in masks.items()}
    check_same_weights({path: slot.mask for path, slot in slots.items()}, masks)
    for path, mask in masks.items():
        if not np.isin(mask, (0, 1)).all():
            raise ValueError(
                f"Expected 0 or 1 in the mask of {path!r}. Received: {np.unique(mask)[:5]}."
            )
    for path, slot in slots.items():
        slot.mask.assign(masks[path].astype(bool))
    zero_pruned(model)


def get_weights(model: keras.Model) -> dict[str, np.ndarray]:
    """Returns path -> array of every weight, pruned weights as 0.

    Biases, normalization parameters and moving statistics are included; masks
    and the state of random generators are not.
    """
    masks = get_masks(model)
    weights = {}
    for path, variable in weight_variables(model).items():
        value = stored_value(variable)
        weights[path] = zero_where_pruned(value, masks[path]) if path in masks else value
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
            value = zero_where_pruned(value, masks[path])
        store(variable, value)


def zero_pruned(model: keras.Model) -> None:
    """Sets the pruned weights of a model to 0 where they are stored.

    They take no part in the model's output in any case; this makes them 0 for
    whoever reads the variables too.
    """
    for slot in slots_of(model).values():
        store(slot.weight, zero_where_pruned(stored_value(slot.weight), to_numpy(slot.mask)))


def set_effective(
    model: keras.Model, rule: Effective, paths: Iterable[str] | None = None
) -> keras.Model:
    """Makes a model compute with what a rule makes of its masked weights, e.g. soft masks.

    The rule's variables become part of the weights' layers: they are trained, saved and
    loaded with them, and no part of `get_weights`. Compile the model afterwards, so that
    its optimizer knows them.

    Args:
        model: a masked model.
        rule: e.g. an object of a subclass of `lth_tf.masking.effective.Effective`;
            `lth_tf.masking.effective.BINARY` gives the plain masks back.
        paths: of the weights it is for; None for all that are masked.

    Returns:
        `model`.

    Raises:
        UsageError: if the model has no masks, or none at one of the paths.

    Source:
        Trained scores as masks: Ramanujan et al. 2020, arXiv:1911.13299 (edge-popup);
        Savarese et al. 2020, arXiv:1912.04427 (continuous sparsification).
    """
    slots = masked_slots(model)
    wanted = set(slots if paths is None else paths)
    for path in sorted(wanted - set(slots)):
        raise UsageError(
            f"Expected paths of masked weights. Received: {path!r}, which model {model.name!r} "
            "does not have."
        )
    chosen = {id(slots[path]) for path in wanted}
    with internals.variable_scope(model):
        for layer in layers_of(model):
            holder = holder_of(layer)
            if holder is not None:
                for slot in [slot for slot in holder.slots if id(slot) in chosen]:
                    holder.use(slot, rule)
    internals.forget_compiled_functions(slots[path].weight for path in wanted)
    return model


def effective_states(model: keras.Model) -> dict[str, dict[str, keras.Variable]]:
    """Returns weight path -> name -> variable that the weight's rule keeps, e.g. scores."""
    return {path: slot.state for path, slot in slots_of(model).items() if slot.state}


def weight_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns path -> variable of every weight: no masks, no random state.

    A path is made of the names of the layers from below the model down to the
    weight, e.g. "fc1/kernel". It is the variable's path in Keras but for
    wrapped layers, whose path there changes when they are saved and loaded.

    Raises:
        UsageError: if two weights share a path.
    """
    holders = [holder for layer in layers_of(model) if (holder := holder_of(layer))]
    held = {id(v) for holder in holders for v in internals.own_variables(holder)}
    paths: dict[int, str] = {}
    _name_weights(model, "", paths)
    found: dict[str, keras.Variable] = {}
    for weight in model.weights:
        if id(weight) in held:
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


def load_model(
    path: str, custom_objects: dict[str, type] | None = None, **kwargs: Any
) -> keras.Model:
    """Loads a .keras file, masked or not.

    The same as `keras.models.load_model` after `import lth_tf.masking.model`, and also
    loads custom layers and models from files of older versions.

    Args:
        path: a .keras file.
        custom_objects: name -> class, as in `keras.models.load_model`.
        **kwargs: passed on.

    Raises:
        UsageError: if the file is missing or damaged, has layers that nobody has registered,
            or weights that are not finite. Nothing in it is executed.
    """
    for item in [*(custom_objects or {}).values(), *keras.saving.get_custom_objects().values()]:
        if isinstance(item, type) and issubclass(item, keras.layers.Layer):
            know_old_name(item)
    return keras_file.load(path, custom_objects=custom_objects, **kwargs)


def slots_of(model: keras.Model) -> dict[str, Slot]:
    """Returns path -> slot of every masked weight, in the order of the model's weights."""
    slots = {id(slot.weight): slot for layer in layers_of(model) for slot in own_slots(layer)}
    return {
        path: slots[id(weight)]
        for path, weight in weight_variables(model).items()
        if id(weight) in slots
    }


def masked_slots(model: keras.Model) -> dict[str, Slot]:
    """Returns the slots of a model that must have some.

    Raises:
        UsageError: if it has no masks.
    """
    slots = slots_of(model)
    if not slots:
        raise UsageError(
            f"Expected a masked model. Received: model={model.name!r} without masks. "
            "Call lth_tf.mask_model(model) first."
        )
    return slots


def _name_weights(layer: keras.layers.Layer, prefix: str, paths: dict[int, str]) -> None:
    """Adds id -> path of the weights of a layer and those below it."""
    for weight in internals.own_variables(layer):
        paths.setdefault(id(weight), prefix + weight.name)
    for inner in internals.direct_layers(layer):
        _name_weights(inner, f"{prefix}{inner.name}/", paths)


def _check_model(model: keras.Model) -> None:
    if not isinstance(model, keras.Model):
        kind = f"{type(model).__module__}.{type(model).__qualname__}"
        hint = "lth_tf works with models of Keras 3 (import keras)."
        if isinstance(model, keras.layers.Layer):
            hint = "Put the layer into a model, e.g. keras.Sequential([keras.Input(shape), layer])."
        raise UsageError(f"Expected a Keras 3 model. Received: model of class {kind}. {hint}")
    if not model.built:
        raise UsageError(
            f"Expected a built model. Received: model={model.name!r}, which has no weights yet. "
            "Call it on a batch, or model.build(input_shape), first."
        )


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
