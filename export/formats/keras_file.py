"""Keras's own .keras files, of the plain model."""

import pathlib
from typing import TYPE_CHECKING

import numpy as np

from lth_tf.lazy import lazy_imports

from ..arrays import Arrays
from . import Format, Runner, Runtime, Stored, WriteOptions, register

with lazy_imports():
    import keras
    import tensorflow as tf

    from .. import signature as signatures
    from .. import size

if TYPE_CHECKING:
    from ..signature import Signature


def open_keras(path: str) -> Runner:
    """Opens a file that Keras can load."""
    model = keras.models.load_model(path, compile=False)
    signature = signatures.signature_of(model)

    def run(inputs: Arrays) -> Arrays:
        tensors = {name: tf.constant(array) for name, array in inputs.items()}
        return {k: np.asarray(v) for k, v in signature.call(model, tensors).items()}

    return Runner(run, signature.batch_size)


class KerasFile(Format):
    """Loads into Keras without lth_tf; stores zeros as well."""

    name = "keras"
    suffix = ".keras"
    dtypes = ("float32",)
    runtimes = (Runtime("keras.models.load_model", open_keras),)
    timed = False

    def recognizes(self, path: pathlib.Path) -> bool:
        """Whether it is a .keras file."""
        return path.is_file() and path.suffix == ".keras"

    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> list[Stored]:
        """Saves the model."""
        # Keras saves under this suffix only.
        model.save(path.with_suffix(".keras"))
        path.with_suffix(".keras").replace(path)
        return size.stored_dense(model)

    def speed_caveats(self, model: "keras.Model", dtype: str) -> list[str]:
        """Returns that it gains nothing."""
        return [
            "keras: neither smaller nor faster than a dense .keras file, which stores zeros as "
            "well; it is for loading into Keras."
        ]


register("keras")(KerasFile())
