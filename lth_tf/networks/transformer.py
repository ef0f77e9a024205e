"""A small transformer that predicts the next character of a text."""

import keras
from keras import layers, ops

from lth_tf.networks import register

_WIDTH, _HEADS, _BLOCKS = 64, 4, 2


@register("transformer", image_shape=(64,), takes="tokens")
def transformer(
    input_shape: tuple[int, ...], classes: int, dropout_rate: float = 0.0
) -> keras.Model:
    """Returns a decoder of two blocks: tokens [length] -> logits [length, classes] of their next.

    111,488 weights for 64 characters out of 71: embeddings of characters and positions,
    and in each block four heads of attention and a hidden layer of four times the width. The
    tokens are numbers below `classes`.

    Source:
        Radford et al. 2019, "Language Models are Unsupervised Multitask Learners" (GPT-2: the
        normalization comes before attention and hidden layer).
    """
    tokens = keras.Input(input_shape, dtype="int32")
    positions = ops.cumsum(ops.ones_like(tokens), axis=1) - 1
    tensor = layers.Embedding(classes, _WIDTH, name="characters")(tokens)
    tensor = tensor + layers.Embedding(input_shape[0], _WIDTH, name="positions")(positions)
    for number in range(1, _BLOCKS + 1):
        tensor = _block(tensor, f"block{number}", dropout_rate)
    tensor = layers.LayerNormalization(name="norm")(tensor)
    return keras.Model(tokens, layers.Dense(classes, name="output")(tensor), name="transformer")


def _block(tensor: keras.KerasTensor, name: str, dropout_rate: float) -> keras.KerasTensor:
    normed = layers.LayerNormalization(name=f"{name}_norm1")(tensor)
    attention = layers.MultiHeadAttention(
        _HEADS, _WIDTH // _HEADS, dropout=dropout_rate, name=f"{name}_attention"
    )
    tensor = tensor + attention(normed, normed, use_causal_mask=True)
    hidden = layers.LayerNormalization(name=f"{name}_norm2")(tensor)
    hidden = layers.Dense(4 * _WIDTH, "gelu", name=f"{name}_fc1")(hidden)
    if dropout_rate:
        hidden = layers.Dropout(dropout_rate, name=f"{name}_dropout")(hidden)
    return tensor + layers.Dense(_WIDTH, name=f"{name}_fc2")(hidden)
