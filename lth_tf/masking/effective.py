"""What a layer computes with in place of a masked weight."""

import contextlib
import contextvars
from collections.abc import Iterator
from typing import Any

import keras

from lth_tf.masking.rule import Effective

_pruned_are_zero = contextvars.ContextVar("pruned_are_zero", default=False)


class Binary(Effective):
    """The weight where the mask keeps it, and 0, not merely small, where it does not.

    The gradient of a pruned weight is exactly 0, and nothing stored there is seen,
    not even infinity or NaN.
    """

    idempotent = True

    def __call__(
        self,
        weight: keras.KerasTensor,
        mask: keras.KerasTensor,
        state: dict[str, keras.KerasTensor],
    ) -> keras.KerasTensor:
        """Returns `weight` where `mask`, else 0."""
        if _pruned_are_zero.get():
            weight = keras.ops.convert_to_tensor(weight)
            # By way of uint8: of a product with a cast bool XLA makes a selection, and what is
            # added to it, as weight decay, is then rounded otherwise.
            ones = keras.ops.cast(keras.ops.cast(mask, "uint8"), weight.dtype)
            return _mask_gradient(weight, ones)
        return keras.ops.where(mask, weight, keras.ops.zeros((), weight.dtype))


BINARY = Binary()


@keras.ops.custom_gradient
def _mask_gradient(weight: keras.KerasTensor, mask: keras.KerasTensor) -> Any:
    def gradient(*args: Any, upstream: Any = None) -> Any:
        (upstream,) = args or (upstream,)
        return upstream * mask, keras.ops.zeros_like(mask)

    return weight, gradient


@contextlib.contextmanager
def pruned_are_zero() -> Iterator[None]:
    """Promises that stored weights are 0 where they are pruned, while a function is traced.

    The layers then read their weights as they are and mask the gradient only,
    which keeps the zeros and saves a pass over the weights an iteration. Nothing
    but masked gradients may change the weights between `zero_pruned` and the use
    of the traced function. Weights with a rule of their own are not affected.
    """
    token = _pruned_are_zero.set(True)
    try:
        yield
    finally:
        _pruned_are_zero.reset(token)


def promised_zero() -> bool:
    """True inside `pruned_are_zero`."""
    return _pruned_are_zero.get()
