"""Loads .keras files whose masked classes were each registered by the name of the original.

In such a file a masked `Dense` is "lth_tf>MaskedDense", its config is that of the
original with "masked_weights" added, and its masks lie under `_masks`.
"""

import functools

import keras

from lth_tf.masking.layers import mask_once_there

_PACKAGE = "lth_tf"
_OLD_HOLDER = "_masks"


def know_old_name(original: type[keras.layers.Layer]) -> None:
    """Lets Keras load the masked version of a layer class under its old name."""

    def from_config(original: type[keras.layers.Layer], config: dict) -> keras.layers.Layer:
        config = dict(config)
        indices = config.pop("masked_weights")
        layer = original.from_config(config)
        mask_once_there(layer, indices, [None] * len(indices), old_name=_OLD_HOLDER)
        return layer

    name = f"Masked{original.__name__}"
    loader = type(
        name,
        (keras.layers.Layer,),
        {
            "__doc__": f"Stands for `{original.__name__}` with masks in an old file.",
            "__module__": __name__,
            "from_config": staticmethod(functools.partial(from_config, original)),
        },
    )
    keras.saving.register_keras_serializable(_PACKAGE, name)(loader)


for _item in vars(keras.layers).values():
    if isinstance(_item, type) and issubclass(_item, keras.layers.Layer):
        know_old_name(_item)
