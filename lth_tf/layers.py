"""Masks in place on the layers of any built Keras 3 model.

`mask_model` turns `Dense` into `MaskedDense`, `Conv2D` into `MaskedConv2D` and so
on: same object, same variables, and a non-trainable uint8 mask beside every
weight. Where the layer reads its weight it gets `weight * mask`, so the pruned
weights take no part in the output and their gradient is exactly 0.
"""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator

import keras
import numpy as np
from keras.ops import convert_to_numpy as to_numpy

from lth_tf.errors import UsageError
from lth_tf.masks import Masks, check_same_weights

_PACKAGE = "lth_tf"
# Of rank >= 2 in some layers (attention biases, normalization over several axes,
# PReLU), but not weights between units.
_pruned_are_zero = contextvars.ContextVar("pruned_are_zero", default=False)
_NEVER_MASKED = ("bias", "gamma", "beta", "scale", "alpha", "seed_generator_state")


@keras.saving.register_keras_serializable(package=_PACKAGE)
class MaskHolder(keras.layers.Layer):
    """Holds the masks of one layer, so that Keras tracks and saves them with it.

    Attributes:
        of: attribute name of a weight -> its uint8 mask variable.
    """

    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.of: dict[str, keras.Variable] = {}
        self.built = True

    def add(self, attribute: str, weight: keras.Variable) -> None:
        """Adds a mask of ones for a weight."""
        self._tracker.unlock()
        self.of[attribute] = self.add_weight(
            name=f"{weight.name}_mask",
            shape=weight.shape,
            dtype="uint8",
            initializer="ones",
            trainable=False,
        )
        self._tracker.lock()


class _Masked:
    """What a masked class adds to the layer class it is made from."""

    def get_config(self):
        masks = {id(raw) for layer in _layers(self) for raw, _ in _own_slots(layer)}
        indices = [i for i, w in enumerate(_unmasked_weights(self)) if id(w) in masks]
        return {**super().get_config(), "masked_weights": indices}

    @classmethod
    def from_config(cls, config):
        """Returns a layer of the original class that is masked once it is built."""
        config = dict(config)
        indices = config.pop("masked_weights")
        layer = cls._original_class.from_config(config)
        build = layer.build

        @functools.wraps(build)
        def build_and_mask(*args, **kwargs):
            build(*args, **kwargs)
            weights = _unmasked_weights(layer)
            wanted = {id(weights[i]) for i in indices}
            _mask_where(_layers(layer), lambda _, variable: id(variable) in wanted)

        layer.build = build_and_mask
        return layer


def mask_model(
    model: keras.Model,
    skip: Iterable[str] | Callable[[str], bool] = (),
) -> keras.Model:
    """Adds masks, all ones, to the weights of a built model, in place.

    Every trainable variable of rank >= 2 gets one, except biases and the
    parameters of normalization layers. The model computes what it did before.
    A model that has masks already keeps them.

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
    _mask_where(_layers(model), lambda layer, variable: not skipped(layer, variable))
    if not _slots(model):
        raise UsageError(
            f"Expected a model with at least one weight to mask (a trainable variable of rank >= 2 "
            f"that is no bias). Received: model={model.name!r}, which has none left."
        )
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
    for layer in _layers(model):
        if isinstance(layer, _Masked):
            _drop_holder(layer)
            layer.__class__ = layer._original_class
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


def zero_pruned(model: keras.Model) -> None:
    """Sets the pruned weights of a model to 0 where they are stored.

    They take no part in the model's output in any case; this makes them 0 for
    whoever reads the variables too.
    """
    for raw, mask in _slots(model).values():
        raw.assign(raw * keras.ops.cast(mask, raw.dtype))


@contextlib.contextmanager
def pruned_are_zero() -> Iterator[None]:
    """Promises that stored weights are 0 where they are pruned, while a function is traced.

    The layers then read their weights as they are and mask the gradient only,
    which keeps the zeros and saves a pass over the weights an iteration. Nothing
    but masked gradients may change the weights between `zero_pruned` and the use
    of the traced function.
    """
    token = _pruned_are_zero.set(True)
    try:
        yield
    finally:
        _pruned_are_zero.reset(token)


def weight_variables(model: keras.Model) -> dict[str, keras.Variable]:
    """Returns path -> variable of every weight: no masks, no random state.

    Raises:
        UsageError: if two weights share a path.
    """
    masks = {id(mask) for _, mask in _slots(model).values()}
    found: dict[str, keras.Variable] = {}
    for variable in model.weights:
        if id(variable) in masks:
            continue
        if found.setdefault(variable.path, variable) is not variable:
            raise UsageError(
                f"Expected a path of its own for every weight. Received: two at {variable.path!r}. "
                "Give the layers different names."
            )
    return found


def load_model(path: str, custom_objects: dict[str, type] | None = None, **kwargs) -> keras.Model:
    """Loads a .keras file, masked or not.

    The same as `keras.models.load_model` after `import lth_tf.layers`, and also
    knows the masked classes of custom layers.

    Args:
        path: a .keras file.
        custom_objects: name -> class, as in `keras.models.load_model`.
        **kwargs: passed on.
    """
    for item in (custom_objects or {}).values():
        if isinstance(item, type) and issubclass(item, keras.layers.Layer):
            masked_class(item)
    return keras.models.load_model(path, custom_objects=custom_objects, **kwargs)


@functools.cache
def masked_class(original: type, attributes: tuple[str, ...] = ()) -> type:
    """Returns the masked version of a layer class, known to Keras's loading.

    Args:
        original: a layer class, e.g. `keras.layers.Dense`.
        attributes: names under which a layer keeps the variables to mask, e.g.
            "_kernel" for a weight that the layer reads as `kernel`.
    """
    namespace = {
        "__doc__": f"`{original.__name__}` with masks on its weights.",
        "__module__": __name__,
        "_original_class": original,
    }
    for attribute in attributes:
        namespace[_public_name(original, attribute)] = _masked_property(original, attribute)
    name = f"Masked{original.__name__}"
    return keras.saving.register_keras_serializable(_PACKAGE, name)(
        type(name, (_Masked, original), namespace)
    )


def _public_name(original: type, attribute: str) -> str:
    """The name a layer reads its weight by: `kernel` for `_kernel` if there is one."""
    public = attribute.lstrip("_")
    return public if isinstance(getattr(original, public, None), property) else attribute


def _masked_property(original: type, attribute: str) -> property:
    public = getattr(original, _public_name(original, attribute), None)

    def read(layer):
        raw = public.fget(layer) if isinstance(public, property) else vars(layer)[attribute]
        mask = keras.ops.cast(vars(layer)["_masks"].of[attribute], raw.dtype)
        if _pruned_are_zero.get():
            return _mask_gradient(keras.ops.convert_to_tensor(raw), mask)
        return raw * mask

    return property(read)


@keras.ops.custom_gradient
def _mask_gradient(weight, mask):
    def gradient(*args, upstream=None):
        (upstream,) = args or (upstream,)
        return upstream * mask, keras.ops.zeros_like(mask)

    return weight, gradient


def _mask_where(
    layers: Iterable[keras.layers.Layer],
    wanted: Callable[[keras.layers.Layer, keras.Variable], bool],
) -> None:
    layers = list(layers)
    for layer in layers:
        for attribute, variable in _maskable(layer):
            if wanted(layer, variable):
                _add_mask(layer, attribute, variable)
    # A layer made of layers (attention, recurrent, wrappers) takes part in saving:
    # loading it must bring back the masks below it.
    for layer in layers:
        inner = [sub for sub in _layers(layer) if isinstance(sub, _Masked)]
        if inner and not isinstance(layer, (_Masked, keras.Model)):
            layer.__class__ = masked_class(type(layer))


def _maskable(layer: keras.layers.Layer) -> list[tuple[str, keras.Variable]]:
    masked = vars(layer)["_masks"].of if "_masks" in vars(layer) else {}
    return [
        (attribute, value)
        for attribute, value in vars(layer).items()
        if isinstance(value, keras.Variable)
        and value.trainable
        and len(value.shape) >= 2
        and not value.name.endswith(_NEVER_MASKED)
        and attribute not in masked
    ]


def _add_mask(layer: keras.layers.Layer, attribute: str, variable: keras.Variable) -> None:
    layer._tracker.unlock()
    if "_masks" not in vars(layer):
        layer._masks = MaskHolder(name="masks")
    layer._tracker.lock()
    layer._masks.add(attribute, variable)
    original = layer._original_class if isinstance(layer, _Masked) else type(layer)
    layer.__class__ = masked_class(original, tuple(sorted(layer._masks.of)))


def _drop_holder(layer: keras.layers.Layer) -> None:
    if "_masks" in vars(layer):
        layer._tracker.unlock()
        layer._layers.remove(layer._masks)
        del layer._masks
        layer._tracker.lock()


def _layers(root: keras.layers.Layer) -> list[keras.layers.Layer]:
    """The layers below `root` and itself, without the mask holders."""
    found = root._flatten_layers(include_self=True, recursive=True)
    return [layer for layer in found if not isinstance(layer, MaskHolder)]


def _own_slots(layer: keras.layers.Layer) -> list[tuple[keras.Variable, keras.Variable]]:
    holder = vars(layer).get("_masks")
    return [] if holder is None else [(vars(layer)[name], m) for name, m in holder.of.items()]


def _slots(model: keras.Model) -> dict[str, tuple[keras.Variable, keras.Variable]]:
    slots: dict[str, tuple[keras.Variable, keras.Variable]] = {}
    for layer in _layers(model):
        for raw, mask in _own_slots(layer):
            if slots.setdefault(raw.path, (raw, mask))[0] is not raw:
                raise UsageError(
                    f"Expected a path of its own for every weight. Received: two at {raw.path!r}. "
                    "Give the layers different names."
                )
    order = {weight.path: i for i, weight in enumerate(model.weights)}
    return dict(sorted(slots.items(), key=lambda item: order[item[0]]))


def _unmasked_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    masks = {id(mask) for sub in _layers(layer) for _, mask in _own_slots(sub)}
    return [weight for weight in layer.weights if id(weight) not in masks]


def _skip_rule(
    model: keras.Model, skip: Iterable[str] | Callable[[str], bool]
) -> Callable[[keras.layers.Layer, keras.Variable], bool]:
    if callable(skip):
        return lambda layer, variable: skip(variable.path)
    names = {skip} if isinstance(skip, str) else set(skip)
    layers = _layers(model)
    known = {layer.name for layer in layers} | {w.path for w in model.weights}
    for name in sorted(names - known):
        raise UsageError(
            f"Expected names of layers or paths of weights in skip. Received: {name!r}, "
            f"which model {model.name!r} does not have."
        )
    below = {id(sub) for layer in layers if layer.name in names for sub in _layers(layer)}
    return lambda layer, variable: id(layer) in below or variable.path in names


def _forget_compiled_functions(model: keras.Model) -> None:
    """Makes `fit` and its kin trace the model anew: they hold its old classes."""
    model.train_function = model.test_function = model.predict_function = None


for _item in vars(keras.layers).values():
    if isinstance(_item, type) and issubclass(_item, keras.layers.Layer):
        masked_class(_item)
