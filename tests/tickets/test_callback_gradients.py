"""Criteria that look at gradients, in `model.fit`."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import lth_tf
from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks, get_weights, mask_model
from lth_tf.pruning.context import PruningContext
from lth_tf.runs.stage import Stage
from lth_tf.tickets.fit_derivatives import FitDerivatives

LABELS = np.arange(120) % 3
INPUTS = (np.eye(3)[LABELS] @ np.ones((3, 6)) + np.tile(np.arange(6), (120, 1))).astype("float32")
INPUTS[:, 5] = 0.0  # nothing that reads it has a gradient


def model_of(activation="softmax", loss=None, dtype=None):
    keras.utils.set_random_seed(0)
    layers = [
        keras.Input((6,)),
        keras.layers.Dense(8, "relu", name="hidden", dtype=dtype),
        keras.layers.Dense(3, activation, name="output", dtype=dtype),
    ]
    model = keras.Sequential(layers)
    model.compile("adam", loss or "sparse_categorical_crossentropy", metrics=["accuracy"])
    return model


def masks_of(criterion, path, model=None, data=(INPUTS, LABELS), **arguments):
    """Returns the masks that a criterion chooses before any training."""
    model = model or model_of()
    tickets = lth_tf.TicketCallback(
        path,
        epochs_per_level=1,
        levels=1,
        method="at_init",
        criterion=criterion,
        scope="global",
        final_density=(0.4,),
        verbose=0,
    )
    model.fit(
        *data,
        validation_data=data if model.loss == "mse" else (INPUTS, LABELS),
        epochs=tickets.epochs,
        callbacks=[tickets],
        verbose=0,
        shuffle=False,
        **arguments,
    )
    return tickets.run_dir.mask(Stage(1)), tickets.run_dir.origin()


def test_snip_keeps_the_largest_products_of_gradient_and_weight(tmp_path):
    masks, origin = masks_of("snip", tmp_path / "run")
    model = model_of()
    model.set_weights(
        [origin[f"{n}/{w}"] for n in ("hidden", "output") for w in ("kernel", "bias")]
    )
    with tf.GradientTape() as tape:
        loss = model.compute_loss(y=LABELS, y_pred=model(INPUTS))
    kernels = [model.layers[0].kernel, model.layers[1].kernel]
    gradients = [g.numpy() for g in tape.gradient(loss, [k.value for k in kernels])]
    scores = np.concatenate(
        [abs(g * k.numpy()).ravel() for g, k in zip(gradients, kernels, strict=True)]
    )
    kept = np.concatenate([masks["hidden/kernel"].ravel(), masks["output/kernel"].ravel()]) == 1
    assert kept.sum() == 29  # 40 % of 72
    assert scores[~kept].max() <= scores[kept].min() * (1 + 1e-5)
    assert not masks["hidden/kernel"][5].any()


@pytest.mark.parametrize(
    "criterion", ["snip", "grasp", pytest.param("synflow", marks=pytest.mark.slow)]
)
def test_data_sets_and_mixed_precision(criterion, tmp_path):
    whole = tf.data.Dataset.from_tensor_slices((INPUTS, LABELS)).batch(40)
    masks, _ = masks_of(criterion, tmp_path / "set", data=(whole,))
    arrays, _ = masks_of(criterion, tmp_path / "arrays")
    half, _ = masks_of(criterion, tmp_path / "half", model_of(dtype="mixed_bfloat16"))
    assert sum(int(mask.sum()) for mask in masks.values()) == 29
    for path, mask in arrays.items():
        np.testing.assert_array_equal(mask, masks[path])
        np.testing.assert_array_equal(mask, half[path])


def test_a_temperature_means_the_same_for_logits_and_probabilities():
    logits = model_of(None, keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    found = []
    for model in (logits, model_of()):
        mask_model(model)
        context = PruningContext(
            get_masks(model),
            get_weights(logits),
            {},
            network=FitDerivatives(model, lambda count: [(INPUTS, LABELS, None)]),
        )
        found.append(context.gradients(200.0)["hidden/kernel"])
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3, atol=1e-7)
    assert np.abs(found[0]).max() > 1e-4


def test_nothing_of_the_model_changes_but_its_masks(tmp_path):
    model = model_of(dtype="mixed_bfloat16")
    masks_of("synflow", tmp_path / "run", model)
    assert [layer.dtype_policy.name for layer in model.layers] == ["mixed_bfloat16"] * 2


def test_what_cannot_be_looked_at_is_said_in_one_line(tmp_path):
    def forever():
        while True:
            yield INPUTS, LABELS

    with pytest.raises(UsageError, match="Expected arrays, a tf.data.Dataset or a PyDataset"):
        masks_of("snip", tmp_path / "generator", data=(forever(),), steps_per_epoch=2)
    with pytest.raises(UsageError, match="a cross-entropy as loss.*Use criterion=snip"):
        masks_of("grasp", tmp_path / "mse", model_of(loss="mse"), (INPUTS, np.eye(3)[LABELS]))
