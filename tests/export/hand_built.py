"""Models built by hand, weight by weight, and how two of them differ."""

import keras
import numpy as np

from lth_tf.keras_internals import all_layers
from tests.export.small_tickets import as_float64


def difference(model: keras.Model, small: keras.Model, batch: int = 7) -> float:
    """Largest difference of outputs in double precision."""
    inputs = np.random.default_rng(0).normal(size=(batch, *model.inputs[0].shape[1:]))
    one, other = as_float64(model)(inputs), as_float64(small)(inputs)
    return float(np.abs(one.numpy() - other.numpy()).max())


def sequential(shape, *stack) -> keras.Model:
    model = keras.Sequential([keras.Input(shape), *stack])
    randomize(model)
    return model


def randomize(model: keras.Model) -> None:
    """Gives every weight a value that is neither 0 nor the same as another."""
    rng = np.random.default_rng(1)
    for weight in model.weights:
        low = 0.5 if "variance" in weight.name or "gamma" in weight.name else -1.0
        weight.assign(rng.uniform(low, 1.5, weight.shape))
    for layer in all_layers(model):
        if isinstance(layer, keras.layers.Normalization):
            layer.finalize_state()


def edit(layer, **changes) -> None:
    """Sets parts of weights: `kernel=(index, value)`."""
    for name, (index, value) in changes.items():
        weight = getattr(layer, name)
        array = weight.numpy()
        array[index] = value
        weight.assign(array)


def kernels(model: keras.Model) -> dict[str, tuple[int, ...]]:
    return {w.path.split("/")[-2]: tuple(w.shape) for w in model.weights if "kernel" in w.name}
