"""Really trained, really sparse networks in seconds: the library's own, on small digits."""

import functools

import keras
import numpy as np
from sklearn.datasets import load_digits

from lth_tf import networks
from lth_tf.masking.model import get_masks, get_weights, set_masks, strip_masks

SIZES = {"lenet": 8, "conv2": 8, "conv6": 8, "resnet18": 8, "vgg19": 16}


def digits(name: str) -> tuple[np.ndarray, np.ndarray]:
    """Returns images [1797, size, size, 1] in [0, 1] and labels, as a network takes them."""
    data = load_digits()
    images = (data.images / 16).astype("float32")[..., None]
    repeat = SIZES[name] // 8
    return images.repeat(repeat, 1).repeat(repeat, 2), data.target


@functools.cache
def ticket(name: str, density: float) -> keras.Model:
    """Returns a plain network, pruned by magnitude and then trained."""
    images, labels = digits(name)
    model = networks.build(name, images.shape[1:], 10, seed=0)
    masks = {}
    weights = get_weights(model)
    for path, mask in get_masks(model).items():
        # As in the paper, the output layer is pruned at half the rate.
        kept = (1 + density) / 2 if "output" in path else density
        order = np.argsort(-abs(weights[path]), axis=None)
        masks[path] = np.zeros(mask.shape, np.uint8)
        masks[path].flat[order[: max(1, round(mask.size * kept))]] = 1
    set_masks(model, masks)
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(images[:960], labels[:960], 32, verbose=0, shuffle=False)
    return strip_masks(model)


def as_float64(model: keras.Model) -> keras.Model:
    """Returns the model in double precision."""
    copy = keras.models.clone_model(
        model,
        clone_function=lambda layer: type(layer).from_config(
            {**layer.get_config(), "dtype": "float64"}
        ),
    )
    copy.set_weights(model.get_weights())
    return copy
