"""scikit-learn's handwritten digits: real data that needs no download."""

import numpy as np

from lth_tf.datasets import Source, Split, register
from lth_tf.datasets.preprocessing import resize
from lth_tf.lazy import lazy_imports
from lth_tf.seeding import generator

with lazy_imports():
    from sklearn import datasets

_TEST_SIZE = 360


@register("digits")
def digits(image_shape: tuple[int, ...]) -> Source:
    """Returns the 1,797 digits of 8x8 pixels, resized: 1,437 to train, 360 to test.

    For networks that are made for no images they stay as they are.

    Source:
        Alpaydin & Kaynak 1998, UCI optical recognition of handwritten digits, the
        test part, as shipped in scikit-learn.
    """
    bunch = datasets.load_digits()
    images = np.rint(bunch.images * (255 / 16)).astype(np.uint8)[..., np.newaxis]
    if len(image_shape) == 3:
        height, width, channels = image_shape
        images = resize(images, (height, width, channels))
    labels = bunch.target.astype(np.int32)
    # The published order goes writer by writer: mixed once, the same for everybody.
    order = generator(0, "digits").permutation(len(labels))
    test, train = order[:_TEST_SIZE], order[_TEST_SIZE:]
    return Source(
        train=Split(images[train], labels[train]),
        test=Split(images[test], labels[test]),
        classes=10,
        validation_size=200,
    )
