"""How a layer gets masks: beside it a holder, and a class that Keras saves them by.

What a masked weight reads as is the matter of `lth_tf.masking.variables`.
"""

import functools
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import keras

from lth_tf import keras_internals as internals
from lth_tf.errors import UsageError
from lth_tf.masking.effective import BINARY, Effective
from lth_tf.masking.holder import HOLDER, MaskHolder, holder_of, layers_of, own_slots
from lth_tf.masking.variables import is_masked, slot_of, store, stored_value, take_mask

CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
_ADAPTER = "lora_"
# Of rank >= 2 in some layers (attention biases, normalization over several axes,
# PReLU), but not weights between units.
_NEVER_MASKED = ("bias", "gamma", "beta", "scale", "alpha", "seed_generator_state")


if TYPE_CHECKING:
    from keras.layers import Layer as _Layer
else:
    _Layer = object  # the class that a layer has comes in later


class Masked(_Layer):
    """What a masked class adds to the layer class it is made from."""

    _original_class: type[keras.layers.Layer]

    def __init_subclass__(cls, **kwargs: Any) -> None:
        """Keeps the original class from taking the masked one for a subclass of a user's."""

    def get_config(self) -> dict[str, Any]:
        """Returns the original layer's description and which of its weights are masked."""
        slots = {id(slot.weight): slot for layer in layers_of(self) for slot in own_slots(layer)}
        weights = _unmasked_weights(self)
        indices = [i for i, weight in enumerate(weights) if id(weight) in slots]
        rules = [slots[id(weights[i])].rule for i in indices]
        config = {
            "layer": internals.object_config(self._original_class, super().get_config()),
            "masked_weights": indices,
        }
        if any(rule is not BINARY for rule in rules):
            config["effective"] = [
                None if rule is BINARY else keras.saving.serialize_keras_object(rule)
                for rule in rules
            ]
        return config

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> keras.layers.Layer:
        """Returns a layer of the original class that is masked once it is built."""
        layer = _original_layer(cls, config.get("layer"))
        indices = config.get("masked_weights")
        if not isinstance(indices, list) or not all(isinstance(i, int) for i in indices):
            raise UsageError(f"Expected numbers of weights. Received: masked_weights={indices!r}.")
        rules = [
            None if rule is None else keras.saving.deserialize_keras_object(rule)
            for rule in config.get("effective", [None] * len(indices))
        ]
        mask_once_there(layer, indices, rules)
        return layer

    def quantize(self, mode: Any = None, config: Any = None, **kwargs: Any) -> Any:
        """Folds the masks in and quantizes the layer, which has no masks then.

        Raises:
            UsageError: if pruned weights would not stay 0 in this mode.
        """
        mode_name = str(mode or getattr(config, "mode", None))
        if not mode_name.startswith("int"):
            raise UsageError(
                f"Expected a mode that keeps pruned weights 0 (int8, int4). Received: "
                f"mode={mode_name!r}. Call lth_tf.strip_masks(model) first to give the zeros up."
            )
        masks = [stored_value(slot.mask) for slot in own_slots(self)]
        weights = [slot.weight for slot in own_slots(self)]
        fold(self)
        drop_masks(self)
        try:
            return self.quantize(mode, config=config, **kwargs)
        except Exception:
            for weight, mask in zip(weights, masks, strict=True):
                _add_mask(self, weight)
                slot_of(weight).mask.assign(mask)
            raise

    def _flatten_layers(self, include_self: bool = True, recursive: bool = True) -> list[Any]:
        found = super()._flatten_layers(include_self, recursive)
        return [layer for layer in found if not isinstance(layer, MaskHolder)]


_register = keras.saving.register_keras_serializable(package="lth_tf", name="Masked")
_register(Masked)


def _original_layer(masked: type[Masked], description: object) -> keras.layers.Layer:
    if masked is not Masked and isinstance(description, dict):
        # Cloning, where the class is at hand and need not be registered.
        return masked._original_class.from_config(description["config"])
    layer = keras.saving.deserialize_keras_object(description)
    if not isinstance(layer, keras.layers.Layer):
        raise UsageError(f"Expected the description of a layer. Received: {type(layer).__name__}.")
    return layer


def mask_once_there(
    layer: keras.layers.Layer,
    indices: list[int],
    rules: list[Effective | None],
    old_name: str | None = None,
) -> None:
    """Masks weights of a layer, given by their places among all, as soon as they exist.

    That is after `build`, after the first `call` where a layer made of layers leaves
    building to them, or at the latest before its saved variables are read.

    Args:
        layer: a layer that may not be built yet.
        indices: places among its weights, those of layers below included.
        rules: for each of them what makes its effective weight; None for the mask alone.
        old_name: a second name of the holders, by which a file knows them.
    """
    hooks = ("build", "call", "load_own_variables")

    def mask_if_there() -> None:
        weights = _unmasked_weights(layer)
        if hooks[0] in vars(layer) and indices and max(indices) < len(weights):
            for name in hooks:
                delattr(layer, name)
            wanted = {id(weights[i]): rule for i, rule in zip(indices, rules, strict=True)}
            mask_where(layers_of(layer), lambda _, variable: id(variable) in wanted, any_kind=True)
            for holder in (h for sub in layers_of(layer) if (h := holder_of(sub))):
                for slot in holder.slots:
                    rule = wanted.get(id(slot.weight))
                    if rule is not None:
                        holder.use(slot, rule)
            for sub in layers_of(layer) if old_name else ():
                if holder_of(sub) is not None:
                    vars(sub).setdefault(old_name, holder_of(sub))

    def hooked(original: Callable, before: bool) -> Callable:
        @functools.wraps(original)
        def call(*args: Any, **kwargs: Any) -> Any:
            if before:
                mask_if_there()
            result = original(*args, **kwargs)
            mask_if_there()
            return result

        return call

    for name in hooks:
        setattr(layer, name, hooked(getattr(layer, name), before=name == hooks[-1]))


def original_class(layer: keras.layers.Layer) -> type[keras.layers.Layer]:
    """Returns the class of a layer, of a masked one that which it was before."""
    return getattr(type(layer), "_original_class", type(layer))


@functools.cache
def _masked_class(original: type) -> type:
    namespace = {
        "__doc__": f"`{original.__name__}` with masks on its weights.",
        "__module__": __name__,
        "_original_class": original,
    }
    if internals.has_default_config(original):
        namespace["get_config"] = _default_get_config
    masked = type(f"Masked{original.__name__}", (Masked, original), namespace)
    # Each class is written as "lth_tf>Masked", and that name finds `Masked` itself:
    # its config says which class is masked, in Keras's own terms.
    _register(masked)
    _register(Masked)
    return masked


@internals.mark_default_config
def _default_get_config(layer: Masked) -> dict:
    return Masked.get_config(layer)


def _swap_class(layer: keras.layers.Layer) -> None:
    original: Any = type(layer)
    layer.__class__ = _masked_class(original)
    internals.quantize_by_class(layer)


def mask_where(
    layers: Iterable[keras.layers.Layer],
    wanted: Callable[[keras.layers.Layer, keras.Variable], bool],
    any_kind: bool = False,
) -> list[keras.Variable]:
    """Adds a mask of ones to each weight of the layers that is `wanted` and has none.

    Args:
        layers: composed layers and those below them.
        wanted: is given a layer and one of its weights.
        any_kind: mask biases, parameters of normalization and what is not trainable too.

    Returns:
        The weights that got one.
    """
    layers = list(layers)
    masked = []
    for layer in layers:
        for variable in _maskable(layer, any_kind):
            if wanted(layer, variable):
                _add_mask(layer, variable)
                masked.append(variable)
    # A layer made of layers (attention, recurrent, wrappers, subclassed models) takes
    # part in saving: loading it must bring back the masks below it.
    for layer in layers:
        inner = [sub for sub in layers_of(layer) if isinstance(sub, Masked)]
        if inner and not isinstance(layer, Masked) and not _saves_its_layers(layer):
            _swap_class(layer)
    return masked


def _saves_its_layers(layer: keras.layers.Layer) -> bool:
    """True for Sequential and Functional models: their config holds those of their layers."""
    if not isinstance(layer, keras.Model):
        return False
    try:
        return "layers" in layer.get_config()
    except NotImplementedError:
        return False


def _maskable(layer: keras.layers.Layer, any_kind: bool) -> list[keras.Variable]:
    weights = [variable for variable in _own_weights(layer) if not is_masked(variable)]
    return weights if any_kind else [v for v in weights if _is_kernel(layer, v)]


def _is_kernel(layer: keras.layers.Layer, variable: keras.Variable) -> bool:
    return (
        (variable.trainable or _is_adapted(layer))
        and len(variable.shape) >= 2
        and not variable.name.endswith(_NEVER_MASKED)
        and not variable.name.startswith(_ADAPTER)
    )


def _own_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """The variables of a layer: attributes in their order, then those in lists and the like."""
    attributes = [value for value in vars(layer).values() if isinstance(value, keras.Variable)]
    tracked = internals.own_variables(layer)
    ids = {id(variable) for variable in tracked}
    found = {id(v): v for v in [*attributes, *tracked] if id(v) in ids}
    return list(found.values())


def _is_adapted(layer: keras.layers.Layer) -> bool:
    """True if a layer has LoRA adapters: its weight is frozen then, and carries the mask."""
    return bool(getattr(layer, "lora_enabled", False))


def _add_mask(layer: keras.layers.Layer, variable: keras.Variable) -> None:
    holder = holder_of(layer)
    if holder is None:
        holder = MaskHolder(name="masks")
        holder.__dict__["_adapters"] = functools.partial(_adapters, layer)
        with internals.trackable(layer):
            setattr(layer, HOLDER, holder)
    holder.add(variable)
    if not isinstance(layer, Masked):
        _swap_class(layer)


def _adapters(layer: keras.layers.Layer, weight: keras.Variable) -> list[keras.Variable]:
    if not _is_adapted(layer):
        return []
    adapters = [v for v in internals.own_variables(layer) if v.name.startswith(_ADAPTER)]
    return [weight, *adapters]


def fold(layer: keras.layers.Layer) -> None:
    """Stores the effective weights of a layer's masked weights."""
    for slot in own_slots(layer):
        stored = keras.ops.convert_to_tensor(stored_value(slot.weight), slot.weight.dtype)
        store(slot.weight, slot.effective(stored))


def drop_masks(layer: keras.layers.Layer) -> None:
    """Gives a layer back its original class, without masks."""
    holder = holder_of(layer)
    if holder is not None:
        for slot in holder.slots:
            take_mask(slot.weight)
        for name in [name for name, value in vars(layer).items() if value is holder]:
            if name != HOLDER:
                del vars(layer)[name]
        internals.forget_layer(layer, HOLDER)
    if isinstance(layer, Masked):
        layer.__class__ = layer._original_class
        internals.quantize_by_instance(layer)


def _unmasked_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    """Returns the weights of a layer without what mask holders hold."""
    holders = [holder_of(sub) for sub in layers_of(layer)]
    held = {id(v) for h in holders if h is not None for v in internals.own_variables(h)}
    return [weight for weight in layer.weights if id(weight) not in held]
