"""What needs which backend of Keras."""

import keras

from lth_tf.errors import UsageError


def require_tensorflow(what: str) -> None:
    """Refuses another Keras backend than TensorFlow.

    Args:
        what: what is asked for, e.g. "lth_tf.Trainer".

    Raises:
        UsageError: if Keras runs on another one.
    """
    backend = keras.backend.backend()
    if backend != "tensorflow":
        raise UsageError(
            f"Expected Keras on TensorFlow: {what} is made for it. Received: backend={backend!r}. "
            "Set KERAS_BACKEND=tensorflow, or use lth_tf.TicketCallback in model.fit."
        )
