"""Derivatives of the compiled model in `fit`, for criteria that ask for them."""

from collections.abc import Callable, Iterator
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from lth_tf.errors import UsageError
from lth_tf.masking.layers import layers_of
from lth_tf.training.derivatives import Derivatives

EXAMPLES = 500
_SMALLEST = 1e-7  # probability; that of Keras's own cross-entropies


class FitDerivatives(Derivatives):
    """Those of the compiled loss on 500 training examples.

    Args:
        model: masked and compiled.
        examples: returns that many training examples: inputs, labels and weights, in batches.
    """

    def __init__(self, model: keras.Model, examples: Callable[[int], list[tuple[Any, Any, Any]]]):
        self._model = model
        self._examples = examples

    @property
    def model(self) -> keras.Model:
        """The model that is fitted."""
        return self._model

    def batches(self) -> Iterator[tuple[Any, float]]:
        """Yields inputs, labels and weights."""
        batches = self._examples(EXAMPLES)
        sizes = [len(keras.tree.flatten(inputs)[0]) for inputs, _, _ in batches]
        for batch, size in zip(batches, sizes, strict=True):
            yield _tensors(batch), size / sum(sizes)

    def loss(self, batch: Any, temperature: float) -> tf.Tensor:
        """Returns the compiled loss, and the model's own losses.

        Raises:
            UsageError: if a temperature is asked for and the loss knows no logits.
        """
        inputs, labels, weights = batch
        outputs = self._model(inputs, training=False)
        if temperature != 1.0:
            outputs = self._tempered(outputs, temperature)
        loss = self._model.compute_loss(inputs, labels, outputs, weights)
        return tf.cast(loss, tf.float32)

    def ones(self) -> Any:
        """Returns an input of ones.

        Raises:
            UsageError: if an input takes no real numbers.
        """
        inputs, _, _ = self._examples(1)[0]
        kinds = {np.asarray(leaf).dtype.kind for leaf in keras.tree.flatten(inputs)}
        embedding = any(
            isinstance(layer, keras.layers.Embedding) for layer in layers_of(self._model)
        )
        if embedding or not kinds <= set("fiub"):
            raise UsageError(
                "Expected inputs of real numbers: this criterion looks at what flows through the "
                "network from an input of ones. Received: inputs that are looked up. "
                "Use criterion=snip or magnitude."
            )
        return keras.tree.map_structure(lambda leaf: tf.ones(leaf.shape, tf.float64), inputs)

    def _tempered(self, outputs: tf.Tensor, temperature: float) -> tf.Tensor:
        """Returns outputs whose logits are divided by a temperature."""
        given = self._model.loss
        loss = keras.losses.get(given) if isinstance(given, str) else given
        config = loss.get_config() if isinstance(loss, keras.Loss) else {}
        name = str(getattr(loss, "name", None) or getattr(loss, "__name__", ""))
        if not isinstance(outputs, tf.Tensor) or "crossentropy" not in name:
            raise UsageError(
                "Expected one output and a cross-entropy as loss: this criterion divides logits "
                f"by a temperature. Received: loss={given!r}. Use criterion=snip."
            )
        if config.get("from_logits"):
            return outputs / temperature
        outputs = tf.clip_by_value(outputs, _SMALLEST, 1 - _SMALLEST)
        if "binary" in name:
            return tf.sigmoid((tf.math.log(outputs) - tf.math.log1p(-outputs)) / temperature)
        return tf.nn.softmax(tf.math.log(outputs) / temperature)


def _tensors(batch: Any) -> Any:
    return keras.tree.map_structure(lambda leaf: None if leaf is None else tf.constant(leaf), batch)
