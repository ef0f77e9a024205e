"""Fine-tuning for smaller values: weight clustering and quantization-aware training.

Both are done by tensorflow-model-optimization in a process of its own, see
`export.finetuning.tfmot_program`, and keep every zero.
"""

import json
import pathlib
import tempfile
from typing import Any

import keras
import numpy as np

from lth_tf import files
from lth_tf.cli.process import ProgramError, run_program
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.stripping import strip

_PROGRAM = f"{__package__}.tfmot_program"
_BATCH = 60


def cluster_weights(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    clusters: int = 16,
    epochs: int = 2,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> keras.Model:
    """Returns a copy of a classifier whose kernels have few different values each.

    Such values deflate well: a SavedModel of it is much smaller.

    Args:
        model: a plain Sequential or Functional classifier, zeros in its kernels.
        inputs: training examples, [n, ...].
        labels: class of each, int [n].
        clusters: values a kernel may have, 0 among them.
        epochs: passes over the examples.
        learning_rate: of Adam.
        seed: seed of order and initialization of the values.

    Raises:
        UsageError: if tensorflow-model-optimization cannot handle the model.
        RunError: if a zero got lost.
    """
    options = {"cluster": clusters, "qat": False, "epochs": epochs}
    return _finetune(model, inputs, labels, learning_rate=learning_rate, seed=seed, **options)


def quantization_aware(
    model: keras.Model,
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    clusters: int = 0,
    epochs: int = 2,
    learning_rate: float = 1e-4,
    seed: int = 0,
) -> keras.Model:
    """Returns a copy of a classifier that is trained to be quantized to int8.

    Its kernels are those that the quantized network computed with, so writing them
    as int8 loses next to nothing.

    Args:
        model: a plain Sequential or Functional classifier, zeros in its kernels.
        inputs: training examples, [n, ...].
        labels: class of each, int [n].
        clusters: if not 0, cluster the weights first and keep the clusters.
        epochs: passes over the examples, for each of the two.
        learning_rate: of Adam.
        seed: seed of order and initialization of the values.

    Raises:
        UsageError: if tensorflow-model-optimization cannot handle the model.
        RunError: if a zero got lost.
    """
    options = {"cluster": clusters, "qat": True, "epochs": epochs}
    return _finetune(model, inputs, labels, learning_rate=learning_rate, seed=seed, **options)


def _finetune(
    model: keras.Model, inputs: np.ndarray, labels: np.ndarray, **options: Any
) -> keras.Model:
    options |= {"batch_size": min(_BATCH, len(inputs)), "from_logits": not _is_softmax(model)}
    copy = strip(model)
    with tempfile.TemporaryDirectory() as folder:
        paths = [str(pathlib.Path(folder, name)) for name in ("m.keras", "data.npz", "out.npz")]
        copy.save(paths[0])
        files.save_arrays(paths[1], {"x": inputs, "y": labels})
        try:
            run_program(_PROGRAM, *paths, json.dumps(options))
        except ProgramError as error:
            raise UsageError(
                "Expected a model that tensorflow-model-optimization can fine-tune. "
                f"Received: model={model.name!r} ({error}). Export it without --cluster and --qat."
            ) from error
        with np.load(paths[2], allow_pickle=False) as arrays:
            weights = {name: arrays[name] for name in arrays.files}
    for layer in copy.layers:
        if layer.weights:
            _assign(layer, [weights[f"{layer.name}/{i}"] for i in range(len(layer.weights))])
    return copy


def _assign(layer: keras.layers.Layer, new: list[np.ndarray]) -> None:
    for old, value in zip(layer.get_weights(), new, strict=True):
        if old.ndim >= 2 and (value[old == 0] != 0).any():
            raise RunError(
                f"Fine-tuning lost {np.count_nonzero(value[old == 0])} zeros of layer "
                f"{layer.name!r}. Export it without --cluster and --qat."
            )
    layer.set_weights(new)


def _is_softmax(model: keras.Model) -> bool:
    last = model.layers[-1]
    activation = getattr(last, "activation", None)
    return isinstance(last, keras.layers.Softmax) or activation is keras.activations.softmax
