"""Plain Keras models out of masked ones."""

import os
import pathlib
import tempfile

import keras

from lth_tf.errors import UsageError
from lth_tf.keras_internals import all_layers
from lth_tf.masking.model import get_masks, load_model, strip_masks


def save_stripped(
    model: keras.Model, path: str | os.PathLike, *, include_optimizer: bool = False
) -> pathlib.Path:
    """Saves a plain model out of a masked one: a file that loads without lth_tf.

    Without the optimizer the file is about a third of its size with Adam. The model goes on
    as it is, masks and all.

    Args:
        model: any built model, with masks or without.
        path: the .keras file.
        include_optimizer: keep optimizer, loss and metrics, to train on.

    Returns:
        `path`.

    Raises:
        UsageError: if the model is not built, or Keras cannot save it.
    """
    strip(model, compile=include_optimizer).save(path)
    return pathlib.Path(path)


def strip(model: keras.Model, *, compile: bool = False) -> keras.Model:
    """Returns a plain copy of a model: masks folded into the weights, original classes.

    The copy computes the same, its pruned weights are 0, and a file saved from it
    loads with Keras alone. A model without masks that Keras cannot copy (layers without
    get_config) is returned as it is.

    Args:
        model: any built model, with masks or without; it is left alone.
        compile: the copy has optimizer, loss and metrics too.

    Raises:
        UsageError: if the model is not built, or Keras cannot save it.

    Example::

        export.strip(model).save("ticket.keras")
    """
    if not model.built:
        raise UsageError(
            f"Expected a built model. Received: model={model.name!r}, which has no weights yet. "
            "Call it on a batch, or model.build(input_shape), first."
        )
    with tempfile.TemporaryDirectory() as folder:
        path = pathlib.Path(folder, "model.keras")
        try:
            model.save(path)
            # The file was written here, of objects that are alive: nothing foreign runs.
            copy = load_model(
                str(path), custom_objects=_own_classes(model), compile=compile, safe_mode=False
            )
        except (TypeError, ValueError, NotImplementedError, AttributeError, KeyError) as error:
            if not get_masks(model):
                return model
            raise UsageError(
                f"Expected a model that Keras can save and load. Received: model={model.name!r} "
                f"({_first_line(error)}). lth_tf.strip_masks(model) works on the model itself."
            ) from error
    return strip_masks(copy)


def _own_classes(model: keras.Model) -> dict[str, type]:
    """Returns name -> class of the user's own layers, masked or not."""
    classes = {type(layer) for layer in all_layers(model)}
    originals = {getattr(item, "_original_class", item) for item in classes}
    return {item.__name__: item for item in originals if item.__module__.split(".")[0] != "keras"}


def _first_line(error: Exception) -> str:
    return str(error).strip().split("\n")[0][:200]
