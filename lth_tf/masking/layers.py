"""How a layer gets masks: its class is swapped for one that reads `weight * mask`."""

import contextlib
import contextvars
import functools
from collections.abc import Callable, Iterable, Iterator

import keras

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
_PACKAGE = "lth_tf"
_MASK = "_lth_tf_mask"  # on a weight: layers that share it share its mask
_pruned_are_zero = contextvars.ContextVar("pruned_are_zero", default=False)
# Of rank >= 2 in some layers (attention biases, normalization over several axes,
# PReLU), but not weights between units.
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
        """Adds a mask of ones for a weight, or the mask it has in another layer."""
        self._tracker.unlock()
        if not hasattr(weight, _MASK):
            mask = self.add_weight(
                name=f"{weight.name}_mask",
                shape=weight.shape,
                dtype="uint8",
                initializer="ones",
                trainable=False,
            )
            setattr(weight, _MASK, mask)
        self.of[attribute] = getattr(weight, _MASK)
        self._tracker.lock()


class Masked:
    """What a masked class adds to the layer class it is made from."""

    def get_config(self):
        """Returns the original layer's config and which of its weights are masked."""
        masks = {id(raw) for layer in layers_of(self) for raw, _ in own_slots(layer)}
        indices = [i for i, w in enumerate(_unmasked_weights(self)) if id(w) in masks]
        return {**super().get_config(), "masked_weights": indices}

    @classmethod
    def from_config(cls, config):
        """Returns a layer of the original class that is masked once it is built."""
        config = dict(config)
        indices = config.pop("masked_weights")
        layer = cls._original_class.from_config(config)
        _mask_once_there(layer, indices)
        return layer


def _mask_once_there(layer: keras.layers.Layer, indices: list[int]) -> None:
    """Masks weights of a layer, given by their places among all, as soon as they exist.

    That is after `build`, after the first `call` where a layer made of layers leaves
    building to them, or at the latest before its saved variables are read.
    """
    hooks = ("build", "call", "load_own_variables")

    def mask_if_there():
        weights = _unmasked_weights(layer)
        if hooks[0] in vars(layer) and indices and max(indices) < len(weights):
            for name in hooks:
                delattr(layer, name)
            wanted = {id(weights[i]) for i in indices}
            mask_where(layers_of(layer), lambda _, variable: id(variable) in wanted, frozen=True)

    def hooked(original, before):
        @functools.wraps(original)
        def call(*args, **kwargs):
            if before:
                mask_if_there()
            result = original(*args, **kwargs)
            mask_if_there()
            return result

        return call

    for name in hooks:
        setattr(layer, name, hooked(getattr(layer, name), before=name == hooks[-1]))


def masked_class(original: type, attributes: tuple[str, ...] = ()) -> type:
    """Returns the masked version of a layer class, known to Keras's loading.

    Args:
        original: a layer class, e.g. `keras.layers.Dense`; itself if it is masked.
        attributes: names under which a layer keeps the variables to mask, e.g.
            "_kernel" for a weight that the layer reads as `kernel`.
    """
    return original if issubclass(original, Masked) else _made_masked(original, attributes)


@functools.cache
def _made_masked(original: type, attributes: tuple[str, ...]) -> type:
    namespace = {
        "__doc__": f"`{original.__name__}` with masks on its weights.",
        "__module__": __name__,
        "_original_class": original,
    }
    if getattr(original.get_config, "_is_default", False):
        # Keras then saves the arguments the layer was made with.
        namespace["get_config"] = _default_get_config
    for attribute in attributes:
        namespace[_public_name(original, attribute)] = _masked_property(original, attribute)
    name = f"Masked{original.__name__}"
    return keras.saving.register_keras_serializable(_PACKAGE, name)(
        type(name, (Masked, original), namespace)
    )


def _default_get_config(layer: Masked) -> dict:
    return Masked.get_config(layer)


_default_get_config._is_default = True


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


def mask_where(
    layers: Iterable[keras.layers.Layer],
    wanted: Callable[[keras.layers.Layer, keras.Variable], bool],
    frozen: bool = False,
) -> None:
    """Adds a mask of ones to each weight of the layers that is `wanted` and has none.

    Args:
        layers: composed layers and those below them.
        wanted: is given a layer and one of its weights.
        frozen: mask weights that are not trainable too.
    """
    layers = list(layers)
    for layer in layers:
        for attribute, variable in _maskable(layer, frozen):
            if wanted(layer, variable):
                _add_mask(layer, attribute, variable)
    # A layer made of layers (attention, recurrent, wrappers, subclassed models) takes
    # part in saving: loading it must bring back the masks below it.
    for layer in layers:
        inner = [sub for sub in layers_of(layer) if isinstance(sub, Masked)]
        if inner and not isinstance(layer, Masked) and not _saves_its_layers(layer):
            layer.__class__ = masked_class(type(layer))


def _saves_its_layers(layer: keras.layers.Layer) -> bool:
    """True for Sequential and Functional models: their config holds those of their layers."""
    if not isinstance(layer, keras.Model):
        return False
    try:
        return "layers" in layer.get_config()
    except NotImplementedError:
        return False


def _maskable(layer: keras.layers.Layer, frozen: bool) -> list[tuple[str, keras.Variable]]:
    masked = vars(layer)["_masks"].of if "_masks" in vars(layer) else {}
    return [
        (attribute, value)
        for attribute, value in vars(layer).items()
        if isinstance(value, keras.Variable)
        and (value.trainable or frozen)
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
    original = layer._original_class if isinstance(layer, Masked) else type(layer)
    layer.__class__ = masked_class(original, tuple(sorted(layer._masks.of)))


def drop_masks(layer: keras.layers.Layer) -> None:
    """Gives a layer back its original class, without masks."""
    if "_masks" in vars(layer):
        for weight, _ in own_slots(layer):
            vars(weight).pop(_MASK, None)
        layer._tracker.unlock()
        layer._layers.remove(layer._masks)
        del layer._masks
        layer._tracker.lock()
    if isinstance(layer, Masked):
        layer.__class__ = layer._original_class


def layers_of(root: keras.layers.Layer) -> list[keras.layers.Layer]:
    """Returns `root` and the layers below it, without the mask holders."""
    found = root._flatten_layers(include_self=True, recursive=True)
    return [layer for layer in found if not isinstance(layer, MaskHolder)]


def own_slots(layer: keras.layers.Layer) -> list[tuple[keras.Variable, keras.Variable]]:
    """Returns the weights that a layer itself masks, each with its mask."""
    holder = vars(layer).get("_masks")
    return [] if holder is None else [(vars(layer)[name], m) for name, m in holder.of.items()]


def _unmasked_weights(layer: keras.layers.Layer) -> list[keras.Variable]:
    masks = {id(mask) for sub in layers_of(layer) for _, mask in own_slots(sub)}
    return [weight for weight in layer.weights if id(weight) not in masks]


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


for _item in vars(keras.layers).values():
    if isinstance(_item, type) and issubclass(_item, keras.layers.Layer):
        masked_class(_item)
