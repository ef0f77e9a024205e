"""Other initializations of a model that its user has built."""

import random
from typing import Any

import keras
import numpy as np

from lth_tf.errors import UsageError
from lth_tf.masking.arrays import check_same_weights
from lth_tf.masking.model import get_weights
from lth_tf.seeding import stream_seed


def new_weights(model: keras.Model, seed: int, *stream: str | int) -> dict[str, np.ndarray]:
    """Returns path -> array of every weight of a model, as another initialization draws them.

    The model is made anew from its config. It is not changed itself, nor are the random
    numbers that the program draws afterwards. Initializers with seeds of their own get others.

    Args:
        model: a built model, masked or not.
        seed: seed of the initialization; the same seed gives the same weights.
        *stream: name of the random stream.

    Raises:
        UsageError: if Keras cannot make the model anew.
    """
    state = random.getstate()
    # Initializers without a seed of their own draw one from Python's generator.
    random.seed(stream_seed(seed, *stream))
    try:
        record = keras.saving.serialize_keras_object(model)
        record.pop("compile_config", None)
        fresh = keras.saving.deserialize_keras_object(_reseeded(record), safe_mode=False)
        weights = get_weights(fresh)
        check_same_weights(get_weights(model), weights)
    except (NotImplementedError, TypeError, ValueError, AttributeError) as error:
        raise UsageError(
            f"Expected a model that Keras can make anew from its config, for a new initialization. "
            f"Received: {model.name!r} ({' '.join(str(error).split())[:120]}). Give its layers "
            "get_config, or leave out controls with new weights."
        ) from error
    finally:
        random.setstate(state)
    return weights


def _reseeded(record: Any) -> Any:
    """Returns a serialized object with other seeds in its initializers."""
    if isinstance(record, list | tuple):
        return type(record)(_reseeded(item) for item in record)
    if not isinstance(record, dict):
        return record
    record = {name: _reseeded(item) for name, item in record.items()}
    if record.get("module") == "keras.initializers" and isinstance(record.get("config"), dict):
        config = record["config"]
        if isinstance(config.get("seed"), int):
            record["config"] = {**config, "seed": random.randrange(2**31)}
    return record
