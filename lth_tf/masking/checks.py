"""Do masks reach every read of a weight? Checks for what masking cannot see from within.

A weight that is read inside a call is masked by itself, however the code gets at it.
Other code may keep values of its own: a graph traced elsewhere, a backend variable taken
out of Keras's, an update by hand. These checks find that.
"""

from typing import Any

import keras
import numpy as np

from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import masked_slots
from lth_tf.masking.variables import Slot, store, stored_value, to_numpy


def unmasked_reads(model: keras.Model, inputs: Any) -> list[str]:
    """Returns the paths of masked weights whose stored pruned values reach the outputs.

    The model is called on one batch, in inference and in training mode, with other
    values stored where weights are pruned. All its variables are as before afterwards.

    Args:
        model: a masked model, some of whose weights are pruned.
        inputs: one batch as the model takes it; a few examples are enough.

    Raises:
        UsageError: if the model has no masks.
    """
    slots = masked_slots(model)
    before = [(variable, stored_value(variable)) for variable in model.variables]

    def outputs(training: bool, paths: list[str]) -> list[np.ndarray]:
        for variable, value in before:
            store(variable, value)
        for path in paths:
            store(slots[path].weight, _noise(slots[path]))
        found = keras.tree.flatten(model(inputs, training=training))
        return [keras.ops.convert_to_numpy(value) for value in found]

    found: set[str] = set()
    try:
        for training in (False, True):
            usual = outputs(training, [])
            # A model or device that gives other values each time.
            drift = _distance(usual, outputs(training, []))
            if _distance(usual, outputs(training, list(slots))) > 10 * drift:
                apart = {path: _distance(usual, outputs(training, [path])) for path in slots}
                found |= {path for path, distance in apart.items() if distance > 10 * drift}
    finally:
        for variable, value in before:
            store(variable, value)
    return [path for path in slots if path in found]


def check_reads(model: keras.Model, inputs: Any) -> None:
    """Checks that the outputs of a model do not depend on what is stored for pruned weights.

    Args:
        model: a masked model, some of whose weights are pruned.
        inputs: one batch as the model takes it; a few examples are enough.

    Raises:
        UsageError: naming the first weight whose mask is bypassed.
    """
    found = unmasked_reads(model, inputs)
    if found:
        raise UsageError(
            f"Expected outputs that do not depend on pruned weights. Received: model "
            f"{model.name!r}, whose code reads {found[0]!r} round its mask"
            f"{f' (and {len(found) - 1} more weights)' if found[1:] else ''}. Read the Keras "
            "variable inside `call`, not a value or a function kept from before masking, or "
            f"leave it out: mask_model(model, skip=[{found[0]!r}])."
        )


def pruned_not_zero(model: keras.Model) -> dict[str, int]:
    """Returns path -> how many pruned weights are not stored as 0, where there are any.

    Weights with a rule of their own (`set_effective`) keep their stored values and are
    left out.

    Raises:
        UsageError: if the model has no masks.
    """
    counts = {
        path: int(np.count_nonzero(stored_value(slot.weight)[~to_numpy(slot.mask)]))
        for path, slot in masked_slots(model).items()
        if slot.rule.idempotent
    }
    return {path: count for path, count in counts.items() if count}


def check_pruned_are_zero(model: keras.Model) -> None:
    """Checks that pruned weights are still stored as 0, e.g. after training.

    Every Keras optimizer leaves them at 0 (averages of `use_ema=True` do from an optimizer
    that was made after the pruning), so something else has changed them.

    Raises:
        RunError: naming the first weight with others, and how many.
    """
    for path, count in pruned_not_zero(model).items():
        raise RunError(
            f"Expected pruned weights of {path!r} to be 0. Received: {count} that are not: code "
            "besides a Keras optimizer changed them, e.g. a function compiled before the masking, "
            "or an update by hand. Change them by variable.assign with the mask applied, or leave "
            f"them out: mask_model(model, skip=[{path!r}])."
        )


def _noise(slot: Slot) -> np.ndarray:
    """Returns the stored weight with random numbers, always the same, where it is pruned."""
    value = stored_value(slot.weight)
    random = np.random.default_rng(0).standard_normal(value.shape, np.float32)
    random *= 1 + max(value.max(initial=0), -value.min(initial=0))
    return np.where(to_numpy(slot.mask), value, random.astype(value.dtype, copy=False))


def _distance(one: list[np.ndarray], other: list[np.ndarray]) -> float:
    """The largest difference; infinite where only one is NaN or values are no numbers."""
    largest = 0.0
    for a, b in zip(one, other, strict=True):
        if np.array_equal(a, b, equal_nan=a.dtype.kind in "fc"):
            continue
        if a.dtype.kind not in "fc":
            return np.inf
        difference = np.abs(a.astype(np.float64) - b.astype(np.float64))
        if np.isnan(difference).any():
            return np.inf
        largest = max(largest, float(difference.max()))
    return largest
