"""The optimizer and the weight decay that a config asks for."""

from typing import Any

import keras
import tensorflow as tf

from lth_tf.config import ExperimentConfig


def make_optimizer(config: ExperimentConfig) -> keras.optimizers.Optimizer:
    """Returns the optimizer that a config asks for, at its rate before any schedule."""
    if config.optimizer == "adam":
        return keras.optimizers.Adam(config.learning_rate)
    momentum = config.momentum if config.optimizer == "momentum" else 0.0
    return keras.optimizers.SGD(config.learning_rate, momentum=momentum)


def add_weight_decay(
    gradients: list[tf.Tensor], variables: list[Any], weight_decay: float | tf.Tensor
) -> list[tf.Tensor]:
    """Returns gradients with weight_decay * weight added to those of kernels (rank >= 2).

    Args:
        gradients: of `variables`, in their order.
        variables: of Keras or of tf_keras.
        weight_decay: the factor; the number 0 changes nothing.
    """
    if isinstance(weight_decay, float) and not weight_decay:
        return gradients
    return [
        g + weight_decay * tf.convert_to_tensor(v) if len(v.shape) > 1 else g
        for g, v in zip(gradients, variables, strict=True)
    ]


def slots_by_variable(
    optimizer: keras.optimizers.Optimizer, variables: list[keras.Variable]
) -> dict[int, list[keras.Variable]]:
    """Returns id of a variable -> the optimizer's own variables for it, e.g. its momentum.

    Args:
        optimizer: built on the variables.
        variables: those it was built on, in their order.
    """
    optimizer = getattr(optimizer, "inner_optimizer", optimizer)
    found: dict[int, list[keras.Variable]] = {id(variable): [] for variable in variables}
    for value in vars(optimizer).values():
        if isinstance(value, list) and value is not variables and len(value) == len(variables):
            for variable, slot in zip(variables, value, strict=True):
                if isinstance(slot, keras.Variable) and slot is not variable:
                    found[id(variable)].append(slot)
    return found
