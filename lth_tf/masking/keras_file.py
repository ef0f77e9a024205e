"""Reading .keras files that may be damaged or made to do harm.

Keras does not execute code from a file (`safe_mode`), follow its links, or unpack bombs; but
what it raises on a damaged one is anything, and it makes layers of any size before it looks
at their weights.
"""

import json
import math
import os
import pathlib
import zipfile
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError, one_line
from lth_tf.files import check_expansion, open_file

# A layer has at least this many weights, and a weight takes at least a byte of the file.
_SIZES = ("units", "filters", "input_dim", "output_dim", "key_dim", "value_dim", "num_heads")
_SIZES_OF_KERNELS = ("kernel_size", "pool_size")


def load(path: str | os.PathLike, **kwargs: Any) -> keras.Model:
    """Loads a model as `keras.models.load_model` does.

    Raises:
        UsageError: if the file is missing or damaged, has layers that nobody has registered,
            or weights that are not finite.
    """
    try:
        if pathlib.Path(path).suffix == ".keras":
            _check(path)
        model = keras.models.load_model(path, **kwargs)
        if not isinstance(model, keras.Model):
            raise ValueError(f"it holds a {type(model).__name__}")
        _check_weights(model)
    except Exception as error:  # whatever parsers, layers and TensorFlow raise
        raise UsageError(
            f"Expected a .keras file that Keras can load. Received: {path} ({one_line(error)}). "
            "It is damaged, or has layers of your own: register them with Keras, or pass "
            "custom_objects."
        ) from error
    return model


def _check(path: str | os.PathLike) -> None:
    """Checks sizes before anything is made of them."""
    with open_file(path) as file, zipfile.ZipFile(file) as archive:
        check_expansion(archive, os.fstat(file.fileno()).st_size)
        stored = sum(member.file_size for member in archive.infolist())
        _check_sizes(json.loads(archive.read("config.json")), stored)


def _check_sizes(config: Any, stored: int) -> None:
    waiting = [config]
    while waiting:
        part = waiting.pop()
        waiting += part.values() if isinstance(part, dict) else []
        waiting += part if isinstance(part, list) else []
        if isinstance(part, dict):
            for name in _SIZES + _SIZES_OF_KERNELS:
                sizes = part.get(name)
                sizes = sizes if isinstance(sizes, list) else [sizes]
                size = math.prod(n for n in sizes if isinstance(n, int))
                if size > stored:
                    raise ValueError(f"{name} is {size} in a file of {stored} bytes")


def _check_weights(model: keras.Model) -> None:
    for weight in model.weights:
        if keras.backend.is_float_dtype(weight.dtype):
            value = keras.ops.convert_to_numpy(keras.ops.isfinite(weight.value))
            if not np.all(value):
                raise ValueError(f"{weight.path} is NaN or infinite")
