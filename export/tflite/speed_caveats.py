"""What an exported file will not do, in plain words."""

import keras
import numpy as np
from keras.ops import convert_to_numpy as to_numpy

from lth_tf.keras_internals import all_layers

from .sparsify import direct_density

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
)


def speed_caveats(model: keras.Model, dtype: str) -> list[str]:
    """Returns where zeros do not make a .tflite file faster than the dense one, and why.

    Removed units (`export.compact`) make every file faster.

    Args:
        model: the plain model in the file.
        dtype: what its weights are stored as.
    """
    layers = [layer for layer in all_layers(model) if layer.weights]
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    if dtype != "float32":
        notes = [
            f"tflite: zeros make {dtype} files smaller, not faster. They are decoded once when "
            "the file is loaded."
        ]
        if dtype == "int8" and dense:
            notes.append(
                "tflite: sparse int8 dense layers run as 1x1 convolutions, as fast for one example "
                "and up to 2.5 times slower for a batch."
            )
        return notes
    if any(isinstance(layer, _CONVOLUTIONS) for layer in layers):
        return [
            "tflite: zeros make a network with convolutions smaller, not faster. They are decoded "
            "once when the file is loaded; stock runtimes have no faster sparse convolution."
        ]
    slow = []
    for layer in dense:
        kernel = to_numpy(layer.kernel)
        density, most = np.count_nonzero(kernel) / kernel.size, direct_density(1, 4 * kernel.size)
        if density > most:
            slow.append(f"{layer.name} ({100 * density:.1f} %; faster below {100 * most:g} %)")
    if not slow:
        return []
    return [f"tflite: zeros make dense layers smaller, not faster: {', '.join(slow)}."]
