"""Which networks can be trained on their remaining weights: chains of dense layers."""

import dataclasses
from collections.abc import Iterator

import keras
import numpy as np

from lth_tf import keras_internals as internals
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data, Preprocessing
from lth_tf.errors import UsageError
from lth_tf.masking.effective import BINARY
from lth_tf.masking.layers import original_class
from lth_tf.masking.variables import is_masked, slot_of, to_numpy
from lth_tf.methods.hooks import Hooks


@dataclasses.dataclass
class Link:
    """A dense layer of a chain.

    Attributes:
        layer: the layer.
        relu: whether ReLU follows, in the layer or as one of its own.
    """

    layer: keras.layers.Dense
    relu: bool

    def mask(self) -> np.ndarray:
        """Returns uint8 [inputs, units]; 1 keeps."""
        kernel = self.layer.kernel
        if not is_masked(kernel):
            return np.ones(kernel.shape, np.uint8)
        return to_numpy(slot_of(kernel).mask).astype(np.uint8)


def links_of(
    model: keras.Model, data: Data, config: ExperimentConfig, hooks: Hooks | None = None
) -> list[Link]:
    """Returns the dense layers of a network that can be trained on its remaining weights.

    Raises:
        UsageError: if it cannot; the message says what is in the way.
    """
    obstacle = _other_training(data, config, hooks) or ("" if not model.losses else "its losses")
    links: list[Link] = []
    for layer, rank in () if obstacle else _chain(model):
        obstacle = _obstacle(layer, rank, links)
        if obstacle:
            break
    if not obstacle and (not links or links[-1].relu):
        obstacle = "a model whose outputs are not those of a dense layer alone"
    if obstacle:
        raise UsageError(
            "Expected a network of dense layers with ReLU for step='sparse'. "
            f"Received: {obstacle}. Use step='dense'.",
            arguments=("step",),
        )
    return links


def _other_training(data: Data, config: ExperimentConfig, hooks: Hooks | None) -> str:
    """Returns what of a training, whatever the model, is for the dense step alone."""
    if hooks is not None and type(hooks) is not Hooks:
        return "a method that changes updates"
    if config.precision != "float32":
        return f"precision={config.precision!r}"
    if data.is_streamed:
        return "streamed examples"
    if config.augment:
        return "augment=True"
    if type(data.preprocessing) is not Preprocessing:
        return f"preprocessing by {type(data.preprocessing).__name__}"
    if data.preprocessing.by_column:
        return "preprocessing column by column"
    if data.train.dtype not in (np.uint8, np.float32):
        return f"inputs of {data.train.dtype}"
    return "" if data.train.labels.ndim == 1 else "several labels an example"


def _chain(model: keras.Model) -> Iterator[tuple[keras.layers.Layer, int]]:
    """Yields the layers of a model, first to last, and the rank of what each is given.

    One that has several inputs ends the chain, seen from the outputs.
    """
    graph = internals.graph_of(model)
    uses = []
    tensors = list(graph.outputs) if graph is not None else []
    while len(tensors) == 1:
        (use,) = internals.producers(tensors)
        uses.append(use)
        tensors = use.inputs
    for use in reversed(uses):
        yield use.operation, len(use.inputs[0].shape) if len(use.inputs) == 1 else 0


def _obstacle(layer: keras.layers.Layer, rank: int, links: list[Link]) -> str:
    """Takes a layer into the chain; returns what is in the way, "" if nothing is."""
    kind = original_class(layer)
    here = f"{kind.__name__} {layer.name!r}"
    if kind is keras.layers.InputLayer:
        return ""
    if kind is keras.layers.Dropout and not layer.rate:
        return ""
    if kind is keras.layers.Flatten and not links and layer.data_format != "channels_first":
        return ""
    plain_relu = kind is keras.layers.Activation and layer.activation is keras.activations.relu
    if kind is keras.layers.ReLU:
        plain_relu = not (layer.negative_slope or layer.threshold) and layer.max_value is None
    if plain_relu and links:
        links[-1].relu = True
        return ""
    if kind is not keras.layers.Dense or rank != 2 or any(link.layer is layer for link in links):
        return here
    links.append(Link(layer, layer.activation is keras.activations.relu))
    return "" if _is_plain(layer) else f"{here} with more than weights, a bias and ReLU"


def _is_plain(layer: keras.layers.Dense) -> bool:
    extras = (
        layer.kernel_constraint,
        layer.bias_constraint,
        layer.activity_regularizer,
        layer.quantization_mode,
        layer.lora_rank,
    )
    return (
        layer.activation in (keras.activations.relu, keras.activations.linear)
        and all(extra is None for extra in extras)
        and all(weight.trainable for weight in (layer.kernel, layer.bias) if weight is not None)
        and layer.compute_dtype == layer.variable_dtype == "float32"
        and (not is_masked(layer.kernel) or slot_of(layer.kernel).rule is BINARY)
        and (layer.bias is None or not is_masked(layer.bias))
    )
