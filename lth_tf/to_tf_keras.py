"""Keras 3 models and optimizers as those of tf_keras.

tensorflow-model-optimization knows the legacy tf_keras only. Importing that package
turns `tf.keras` into tf_keras, so this module is for programs that run in a process of
their own (`lth_tf.cli.process`); nothing else may import it.
"""

import inspect
from typing import Any

import keras
import tensorflow as tf
import tf_keras

from lth_tf.keras_internals import calls_of
from lth_tf.masking.model import weight_variables


def convert_model(model: keras.Model) -> tf_keras.Model:
    """Returns a tf_keras model with the layers and weights of a Keras 3 model.

    Raises:
        ValueError: if it has nested models, shared layers, operations that are no
            layers, or layers that tf_keras does not have.
    """
    inputs = [tf_keras.Input(tuple(x.shape[1:]), dtype=x.dtype) for x in model.inputs]
    if isinstance(model, keras.Sequential):
        outputs = inputs[0]
        for layer in model.layers:
            outputs = _layer(layer)(outputs)
    else:
        outputs = _outputs(model, inputs)
    copy = tf_keras.Model(inputs, outputs)
    for layer in model.layers:
        if layer.weights:
            copy.get_layer(layer.name).set_weights(layer.get_weights())
    return copy


def _outputs(model: keras.Model, inputs: list) -> list:
    """Returns the outputs of a Functional model's copy."""
    tensors = {id(old): new for old, new in zip(model.inputs, inputs, strict=True)}
    for operation in model.operations:
        if isinstance(operation, keras.layers.InputLayer):
            continue
        node = _only_node(operation, tensors)
        given = [tensors[id(tensor)] for tensor in node.input_tensors]
        tensors[id(node.outputs[0])] = _layer(operation)(given if len(given) > 1 else given[0])
    return [tensors[id(tensor)] for tensor in model.outputs]


def _only_node(operation: keras.Operation, known: dict[int, Any]) -> Any:
    """Returns the call of a layer that this model consists of."""
    nodes = [
        node
        for node in calls_of(operation)
        if all(id(tensor) in known for tensor in node.input_tensors)
    ]
    if len(nodes) != 1:
        raise ValueError(f"layer {operation.name!r} is used {len(nodes)} times")
    return nodes[0]


def _layer(operation: keras.Operation) -> tf_keras.layers.Layer:
    """Returns the tf_keras layer with the arguments of a Keras 3 layer."""
    kind = getattr(tf_keras.layers, type(operation).__name__, None)
    if kind is None or not isinstance(operation, keras.layers.Layer):
        raise ValueError(f"tf_keras has no layer like {operation.name!r}")
    if isinstance(operation, keras.Model):
        raise ValueError(f"it has the model {operation.name!r} inside")
    layer = kind(**{**_arguments(kind, operation.get_config()), "name": operation.name})
    if isinstance(layer, tf_keras.layers.BatchNormalization):
        # Keras 3 has no fused kernel: its rounding and its moving variance are others.
        layer.fused = False
    return layer


def converted_variables(model: keras.Model, copy: tf_keras.Model) -> dict[str, tf.Variable]:
    """Returns path -> variable of every weight of a copy, named as in the Keras 3 model.

    Args:
        model: the Keras 3 model.
        copy: what `convert_model` made of it.
    """
    paths = {id(variable): path for path, variable in weight_variables(model).items()}
    found: dict[str, tf.Variable] = {}
    for layer in model.layers:
        if layer.weights:
            pairs = zip(layer.weights, copy.get_layer(layer.name).weights, strict=True)
            found |= {paths[id(original)]: variable for original, variable in pairs}
    return found


def convert_optimizer(optimizer: keras.optimizers.Optimizer) -> tf_keras.optimizers.Optimizer:
    """Returns the tf_keras optimizer with the arguments of a Keras 3 optimizer."""
    kind = getattr(tf_keras.optimizers, type(optimizer).__name__)
    return kind(**_arguments(kind, optimizer.get_config()))


def _arguments(kind: Any, config: dict[str, Any]) -> dict[str, Any]:
    """Returns what a tf_keras class accepts of the config of its Keras 3 namesake."""
    accepted = set(inspect.signature(kind.__init__).parameters)
    # Dicts are initializers, regularizers and types; the weights are set afterwards.
    return {k: v for k, v in config.items() if k in accepted and not isinstance(v, dict)}
