"""What is done to images: resizing and cropping on the host, augmentation on the device."""

import numpy as np
import tensorflow as tf

_PADDING = 4
# 224 pixels of a shorter side of 256.
_MIDDLE = 0.875


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


def decode_cropped(
    encoded: tf.Tensor, image_shape: tuple[int, ...], seed: tf.Tensor | None
) -> tf.Tensor:
    """Decodes an image and brings a part of it to a size. Traced.

    Args:
        encoded: scalar string: a JPEG, PNG or BMP file.
        image_shape: height, width and channels of the result.
        seed: int64 [2]: a random part, 8 to 100 % of the area, 3:4 to 4:3, is flipped at random;
            None takes 7/8 of the middle.

    Returns:
        uint8 [*image_shape].
    """
    height, width, channels = image_shape
    image = tf.io.decode_image(encoded, channels, expand_animations=False)
    image.set_shape((None, None, channels))
    size = tf.shape(image)
    if seed is None:
        scale = tf.reduce_min(tf.cast(size[:2], tf.float32) / (height, width)) * _MIDDLE
        part = tf.maximum(1, tf.cast(tf.round(scale * (height, width)), tf.int32))
        begin = tf.concat([(size[:2] - part) // 2, [0]], 0)
        target = tf.concat([part, [channels]], 0)
    else:
        begin, target, _ = tf.image.stateless_sample_distorted_bounding_box(
            size,
            tf.zeros((1, 0, 4)),
            seed,
            min_object_covered=0.0,
            aspect_ratio_range=(3 / 4, 4 / 3),
            area_range=(0.08, 1.0),
            use_image_if_no_bounding_boxes=True,
        )
        # -1 of all channels does not go with a known number of them.
        target = tf.concat([target[:2], [channels]], 0)
    resized = tf.image.resize(tf.slice(image, begin, target), (height, width))
    if seed is not None:
        flipped = tf.random.stateless_uniform((), seed + 1, 0, 2, tf.int32) == 1
        resized = tf.where(flipped, resized[:, ::-1], resized)
    image = tf.cast(tf.clip_by_value(tf.round(resized), 0, 255), tf.uint8)
    return tf.ensure_shape(image, image_shape)
