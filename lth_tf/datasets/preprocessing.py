"""What is done to images: resizing on the host, augmentation on the device."""

import numpy as np
import tensorflow as tf

_PADDING = 4


def resize(images: np.ndarray, image_shape: tuple[int, int, int]) -> np.ndarray:
    """Resizes images bilinearly and repeats a single channel.

    Args:
        images: uint8 [n, height, width, channels].
        image_shape: height, width and channels of the result.

    Returns:
        uint8 [n, *image_shape].
    """
    height, width, channels = image_shape
    resized = tf.image.resize(images, (height, width), method="bilinear").numpy()
    resized = np.clip(np.rint(resized), 0, 255).astype(np.uint8)
    if images.shape[-1] == 1:
        resized = np.repeat(resized, channels, axis=-1)
    return resized


def augment(images: tf.Tensor, seed: tf.Tensor) -> tf.Tensor:
    """Flips each image at random, pads it by 4 pixels of 0 and crops it at random.

    Args:
        images: [n, height, width, channels], any type.
        seed: two whole numbers; the same seed gives the same result.

    Returns:
        Tensor of the same shape and type.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 4.
    """
    number, height, width, channels = images.shape
    flips = tf.random.stateless_uniform((number,), seed, 0, 2, tf.int32)
    shifts = tf.random.stateless_uniform((2, number), seed + 1, 0, 2 * _PADDING + 1, tf.int32)
    rows = shifts[0][:, tf.newaxis] + tf.range(height)
    forward = tf.range(width)
    columns = tf.where(flips[:, tf.newaxis] == 1, forward[::-1], forward)
    columns = columns + shifts[1][:, tf.newaxis]
    # One gather of pixels is faster than a flip and a crop of each image.
    pixels = rows[:, :, tf.newaxis] * (width + 2 * _PADDING) + columns[:, tf.newaxis, :]
    padding = (_PADDING, _PADDING)
    padded = tf.pad(images, ((0, 0), padding, padding, (0, 0)))
    flat = tf.reshape(padded, (number, -1, channels))
    return tf.gather(flat, pixels, batch_dims=1)
