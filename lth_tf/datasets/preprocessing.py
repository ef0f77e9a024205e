"""What is done to images: resizing on the host, normalization on the device."""

import numpy as np
import tensorflow as tf


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


def normalize(images: tf.Tensor) -> tf.Tensor:
    """Returns float32 images in [0, 1] of uint8 ones.

    The paper does not state its input normalization.
    """
    return tf.cast(images, tf.float32) / 255.0
