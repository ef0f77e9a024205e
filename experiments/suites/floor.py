"""How near the Trainer comes to what an update takes at least: its products and its bytes."""

import time
from collections.abc import Callable, Iterator
from typing import Any

import keras
import tensorflow as tf

from lth_tf.masking.layers import layers_of
from lth_tf.training.choice import uses_jit

from . import Options, Rate, Result, in_turn, register
from .setups import config_of, model_of, trainer_of, trainer_rate

_LENGTH = 20  # updates a call


@register("floor")
def floor(options: Options) -> Iterator[Result]:
    """Measures, network by network, the Trainer beside the products of an update and Adam alone.

    The products are those of every dense layer and convolution, forward and backward (twice),
    the gradient of the inputs left out, on arrays that are there already.
    """
    for network in options.networks.split(","):
        config = config_of(network)
        model = model_of(config)
        rates = {
            "Trainer, masked": trainer_rate(trainer_of(config, model), options.seconds),
            "floor: products and an optimizer": _floor(model, config.batch_size, options.seconds),
        }
        yield in_turn(f"{network}: share of the floor", rates, options.rounds)


def _floor(model: keras.Model, batch: int, seconds: float) -> Rate:
    products = [
        _product(layer, batch, first=number == 0)
        for number, layer in enumerate(
            layer
            for layer in layers_of(model)
            if isinstance(layer, (keras.layers.Dense, keras.layers.Conv2D))
        )
    ]
    size = sum(int(tf.size(weight)) for weight in model.trainable_variables)
    weights, first, second, gradient = (tf.Variable(tf.random.normal([size])) for _ in range(4))

    def update(i: tf.Tensor) -> Any:
        results = [product(i) for product in products]
        with tf.control_dependencies([value for result in results for value in result]):
            first.assign_add((gradient - first) * 0.1)
            second.assign_add((gradient * gradient - second) * 0.001)
            weights.assign_sub(1e-9 * first / (tf.sqrt(tf.abs(second)) + 1e-7))
        return (i + 1,)

    @tf.function(jit_compile=uses_jit(model, "auto"), autograph=False)
    def updates() -> Any:
        return tf.while_loop(lambda i: i < _LENGTH, update, (tf.constant(0),))

    updates()

    def rate() -> float:
        start, made = time.perf_counter(), 0
        while time.perf_counter() - start < seconds:
            updates()
            made += _LENGTH
        return made / (time.perf_counter() - start)

    return rate


def _product(layer: keras.layers.Layer, batch: int, first: bool) -> Callable:
    """Returns what computes a layer's product and both of its gradients, kept by the variables."""
    kernel = tf.Variable(tf.random.normal(layer.kernel.shape))
    given = tf.Variable(tf.random.normal([batch, *layer.input.shape[1:]]))
    upstream = tf.Variable(tf.random.normal([batch, *layer.output.shape[1:]]))

    def forward(inputs: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        if isinstance(layer, keras.layers.Dense):
            return inputs @ weights
        return tf.nn.conv2d(inputs, weights, layer.strides, layer.padding.upper())

    def compute(i: tf.Tensor) -> list[tf.Tensor]:
        # Of the iteration, or the compiler would compute it once for all.
        inputs = given + tf.cast(i, tf.float32)
        weights = kernel + tf.cast(i, tf.float32)
        with tf.GradientTape() as tape:
            tape.watch([inputs, weights])
            outputs = forward(inputs, weights)
        wanted = [weights] if first else [weights, inputs]
        gradients = tape.gradient(outputs, wanted, output_gradients=upstream)
        kernel.assign_add(gradients[0] * 0.0)
        if not first:
            given.assign_add(gradients[1] * 0.0)
        upstream.assign_add(outputs * 0.0)
        return [tf.reduce_sum(value) for value in (outputs, *gradients)]

    return compute
