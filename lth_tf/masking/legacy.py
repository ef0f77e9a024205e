"""Loads .keras files whose masked classes were each registered by the name of the original.

In such a file a masked `Dense` is "lth_tf>MaskedDense", its config is that of the
original with "masked_weights" added, and its masks lie under `_masks`.
"""

import keras

from lth_tf.masking.layers import Masked, mask_once_there

_PACKAGE = "lth_tf"
_OLD_HOLDER = "_masks"


class _OldMasked(keras.layers.Layer):
    """Stands for a layer class with masks in an old file."""

    _original_class: type[keras.layers.Layer]

    @classmethod
    def from_config(cls, config: dict) -> keras.layers.Layer:
        config = dict(config)
        indices = config.pop("masked_weights")
        layer = cls._original_class.from_config(config)
        mask_once_there(layer, indices, [None] * len(indices), old_name=_OLD_HOLDER)
        return layer


def know_old_name(original: type[keras.layers.Layer]) -> None:
    """Lets Keras load the masked version of a layer class under its old name.

    What stands for masked layers itself, then or now, has no such version.
    """
    if issubclass(original, (_OldMasked, Masked)):
        return
    name = f"Masked{original.__name__}"
    known = keras.saving.get_registered_object(f"{_PACKAGE}>{name}")
    if known is None or getattr(known, "_original_class", None) is not original:
        loader = type(name, (_OldMasked,), {"_original_class": original, "__module__": __name__})
        keras.saving.register_keras_serializable(_PACKAGE, name)(loader)


for _item in vars(keras.layers).values():
    if isinstance(_item, type) and issubclass(_item, keras.layers.Layer):
        know_old_name(_item)
