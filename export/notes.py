"""What an exported file will not do, in plain words."""

import keras
import numpy as np
from keras.ops import convert_to_numpy as to_numpy

# Up to this density LiteRT's dense layers read a sparse float32 kernel directly and gain
# from it; `export.tflite` decodes denser ones when the file is loaded.
DIRECT_DENSITY = 0.06

_CONVOLUTIONS = (
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv2D,
    keras.layers.Conv2DTranspose,
)


def speed_notes(model: keras.Model, kind: str, values: str) -> list[str]:
    """Returns where zeros do not make a file faster than the dense one, and why.

    Removed units (`export.compact`) make every file faster.

    Args:
        model: the plain model in the file.
        kind: "tflite", "saved_model" or "keras".
        values: what its weights are stored as.
    """
    if kind == "keras":
        return [
            "keras: neither smaller nor faster than a dense .keras file, which stores zeros as "
            "well; it is for loading into Keras."
        ]
    if kind == "saved_model":
        return [
            "saved_model: zeros make it smaller, not faster. It is decoded once when it is loaded "
            "and computes with dense kernels."
        ]
    if values != "float32":
        return [
            f"tflite: zeros make {values} files smaller, not faster. They are decoded once when "
            "the file is loaded."
        ]
    return _tflite_notes(model)


def _tflite_notes(model: keras.Model) -> list[str]:
    notes = []
    layers = [layer for layer in model._flatten_layers() if layer.weights]
    if any(isinstance(layer, _CONVOLUTIONS) for layer in layers):
        notes.append(
            "tflite: zeros make convolutions smaller, not faster. They are decoded once when the "
            "file is loaded; stock runtimes have no faster sparse convolution."
        )
    dense = [layer for layer in layers if isinstance(layer, keras.layers.Dense)]
    slow = [(layer.name, _density(layer)) for layer in dense]
    slow = [f"{name} ({100 * density:.1f} %)" for name, density in slow if density > DIRECT_DENSITY]
    if slow:
        notes.append(
            f"tflite: zeros make dense layers above {100 * DIRECT_DENSITY:.0f} % density smaller, "
            f"not faster: {', '.join(slow)}."
        )
    return notes


def _density(layer: keras.layers.Dense) -> float:
    kernel = to_numpy(layer.kernel)
    return np.count_nonzero(kernel) / kernel.size
