"""TFMOT: a tf_keras model that it prunes to half its weights, in `fit`, 100 steps an execution.

A program of its own: tensorflow-model-optimization turns tf.keras into tf_keras.
"""

import os

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import numpy as np
import tensorflow as tf
import tensorflow_model_optimization as tfmot
import tf_keras

from . import INTERVAL, RATE, UNITS, initial_weights, serve, splits


def main() -> None:
    """Runs the peer."""
    data = splits()
    model = tfmot.sparsity.keras.prune_low_magnitude(
        _model(), tfmot.sparsity.keras.ConstantSparsity(0.5, begin_step=0, frequency=INTERVAL)
    )
    model.compile(
        tf_keras.optimizers.Adam(RATE),
        tf_keras.losses.SparseCategoricalCrossentropy(from_logits=True),
        metrics=["accuracy"],
        steps_per_execution=INTERVAL,
    )
    images, labels = map(tf.constant, data["train"])
    evaluated = {name: (_scaled(x), y) for name, (x, y) in data.items() if name != "train"}
    pruning = tfmot.sparsity.keras.UpdatePruningStep()

    def interval(order: np.ndarray, tested: bool) -> None:
        rows = tf.data.Dataset.from_tensor_slices(order)
        given = rows.map(lambda row: (_scaled(tf.gather(images, row)), tf.gather(labels, row)))
        model.fit(given.prefetch(2), shuffle=False, callbacks=[pruning], verbose=0)
        for name in ("validation", "test") if tested else ("validation",):
            model.evaluate(*evaluated[name], batch_size=1_000, verbose=0)

    serve(interval)


def _scaled(images: np.ndarray) -> tf.Tensor:
    return tf.cast(images, tf.float32) / 255


def _model() -> tf_keras.Model:
    last = len(UNITS) - 2
    layers = [
        tf_keras.layers.Dense(units, activation="relu" if number < last else None)
        for number, units in enumerate(UNITS[1:])
    ]
    model = tf_keras.Sequential([tf_keras.Input(UNITS[:1]), *layers])
    model.set_weights([array for pair in initial_weights() for array in pair])
    return model


if __name__ == "__main__":
    main()
