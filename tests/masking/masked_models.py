"""What the tests of masking share: random masks, and whether outputs obey them."""

import keras
import numpy as np

from lth_tf.masking import model as m
from lth_tf.masking.checks import unmasked_reads
from lth_tf.masking.variables import store, stored_value


def random_masks(model, density=0.5, seed=0):
    random = np.random.default_rng(seed)
    return {
        path: (random.random(mask.shape) < density).astype(np.uint8)
        for path, mask in m.get_masks(model).items()
    }


def masked(model, density=0.5, seed=0):
    """Returns the model with random masks; some weights of each kept, some pruned."""
    m.mask_model(model)
    masks = random_masks(model, density, seed)
    for mask in masks.values():
        mask.flat[0], mask.flat[-1] = 1, 0
    m.set_masks(model, masks)
    return model


def assert_obeys_masks(model, x, masks, stored_as_zero=True):
    """Pruned weights are stored as 0, and whatever else is stored there changes nothing."""
    assert {path: int(mask.sum()) for path, mask in m.get_masks(model).items()} == {
        path: int(mask.sum()) for path, mask in masks.items()
    }
    variables = m.weight_variables(model)
    for path, mask in masks.items():
        np.testing.assert_array_equal(m.get_masks(model)[path], mask)
        assert not (stored_as_zero and stored_value(variables[path])[mask == 0].any()), path
    assert unmasked_reads(model, x) == []
    before = np.array(model(x))
    stored = {path: stored_value(variables[path]) for path in masks}
    for path, mask in masks.items():
        store(variables[path], np.where(mask, stored[path], np.nan))
    np.testing.assert_array_equal(np.array(model(x)), before)
    assert np.isfinite(before).all()
    for path in masks:
        store(variables[path], stored[path])


def sequential(*stack, shape=(6,), name=None):
    return keras.Sequential([keras.Input(shape), *stack], name=name)
