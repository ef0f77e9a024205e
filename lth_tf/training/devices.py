"""How accelerators are used; a machine without one is left as it is."""

import tensorflow as tf


def configure(deterministic: bool = True) -> None:
    """Lets memory of GPUs grow as it is needed, and makes their operations deterministic.

    To be called before the first tensor: memory is allocated then, and a later call leaves
    it. On a CPU the same seed gives the same bits without it.

    Args:
        deterministic: the same seed gives the same bits; False gives that up for speed.
    """
    accelerators = tf.config.list_physical_devices("GPU")
    for device in accelerators:
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # already in use, with whatever it was given
            break
    if accelerators and deterministic:
        tf.config.experimental.enable_op_determinism()
