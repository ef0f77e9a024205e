"""Fine-tunes a model with tensorflow-model-optimization. A program of its own.

Started by `export.finetune`, because that package must not be imported where Keras 3 is at
work (see `lth_tf.to_tf_keras`):

    tfmot_program MODEL.keras DATA.npz OUT.npz '{"cluster": 16, "qat": true, ...}'

It builds the model with the same weights in tf_keras, fine-tunes it with its
zeros kept, and writes the weights of every layer to OUT.npz as "LAYER/INDEX".
"""

import json
import sys

import keras
import numpy as np
import tf_keras

from lth_tf import files
from lth_tf.lazy import lazy_imports
from lth_tf.to_tf_keras import convert_model

with lazy_imports():  # once it is imported tf.keras is tf_keras, in pytest's process too
    import tensorflow_model_optimization as tfmot


def clustered(
    model: tf_keras.Model, inputs: np.ndarray, labels: np.ndarray, options: dict
) -> tf_keras.Model:
    """Returns a model with few values in each kernel, trained as such, zeros kept."""
    keras_api = tfmot.clustering.keras
    starts = keras_api.CentroidInitialization
    # k-means++ wants more weights of either sign than clusters.
    enough = _fewest_of_a_sign(model) >= options["cluster"]
    wrapped = keras_api.cluster_weights(
        model,
        number_of_clusters=options["cluster"],
        cluster_centroids_init=starts.KMEANS_PLUS_PLUS if enough else starts.LINEAR,
        preserve_sparsity=True,
    )
    fit(wrapped, inputs, labels, options)
    return keras_api.strip_clustering(wrapped)


def _fewest_of_a_sign(model: tf_keras.Model) -> int:
    """Returns how many positive, or negative, weights a kernel has at least."""
    kernels = [weight.numpy() for weight in model.trainable_weights if len(weight.shape) >= 2]
    return min(min((kernel > 0).sum(), (kernel < 0).sum()) for kernel in kernels)


def quantization_aware(model: tf_keras.Model, keep_clusters: bool) -> tf_keras.Model:
    """Returns a model that computes as if in int8, zeros (and clusters) kept."""
    combine = tfmot.experimental.combine
    if keep_clusters:
        scheme = combine.Default8BitClusterPreserveQuantizeScheme(preserve_sparsity=True)
    else:
        scheme = combine.Default8BitPrunePreserveQuantizeScheme()
    annotated = tfmot.quantization.keras.quantize_annotate_model(model)
    return tfmot.quantization.keras.quantize_apply(annotated, scheme)


def fit(model: tf_keras.Model, inputs: np.ndarray, labels: np.ndarray, options: dict) -> None:
    """Trains a classifier for a few epochs."""
    loss = tf_keras.losses.SparseCategoricalCrossentropy(from_logits=options["from_logits"])
    optimizer = tf_keras.optimizers.Adam(options["learning_rate"])
    model.compile(optimizer, loss)
    batch = options["batch_size"]
    model.fit(inputs, labels, batch_size=batch, epochs=options["epochs"], verbose=0)


def weights_of(
    model: tf_keras.Model, names: dict[str, list[str]], inputs: np.ndarray
) -> dict[str, np.ndarray]:
    """Returns "layer/index" -> weight as the model computes with it.

    Args:
        model: a model, its layers wrapped or not.
        names: layer -> attributes that hold its weights, in Keras's order.
        inputs: at least one example.
    """
    model(inputs[:1], training=False)  # wrappers put the quantized weights into their layers
    layers = [getattr(layer, "layer", layer) for layer in model.layers]
    return {
        f"{layer.name}/{index}": np.asarray(getattr(layer, attribute))
        for layer in layers
        for index, attribute in enumerate(names.get(layer.name, ()))
    }


def weight_names(model: tf_keras.Model) -> dict[str, list[str]]:
    """Returns layer -> attributes that hold its weights, in Keras's order."""
    return {
        layer.name: [weight.name.split(":")[0].split("/")[-1] for weight in layer.weights]
        for layer in model.layers
    }


def main(model_path: str, data_path: str, out_path: str, text: str) -> None:
    """Does what the command line asks for."""
    options = json.loads(text)
    with np.load(data_path, allow_pickle=False) as data:
        inputs, labels = data["x"], data["y"]
    tf_keras.utils.set_random_seed(options["seed"])
    model = convert_model(keras.models.load_model(model_path, compile=False))
    names = weight_names(model)
    if options["cluster"]:
        model = clustered(model, inputs, labels, options)
    if options["qat"]:
        model = quantization_aware(model, bool(options["cluster"]))
        fit(model, inputs, labels, options)
    files.save_arrays(out_path, weights_of(model, names, inputs))


if __name__ == "__main__":
    main(*sys.argv[1:])
