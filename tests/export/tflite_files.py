"""TFLite files as bytes: the converter's, and what is made of it."""

from typing import Any

import keras

from export.examples import named
from export.formats.base import WriteOptions
from export.signature import signature_of
from export.tflite.convert import dense_bytes
from export.tflite.sparsify import rewrite


def dense_tflite(model: keras.Model, dtype: str = "float32", examples: Any = None) -> bytes:
    """Returns the file that the converter makes of a model."""
    signature = signature_of(model, examples)
    arrays = None if examples is None else named(signature, examples)
    return dense_bytes(model, signature, WriteOptions(dtype, arrays))


def sparsify(content: bytes, **options: Any) -> bytes:
    """Returns the smaller file that computes the same."""
    return rewrite(content, **options)[0]
