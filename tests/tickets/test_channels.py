"""Tickets of whole channels: counts, rewinding, controls, in programs and in fit."""

import dataclasses

import keras
import numpy as np
import pytest
from keras import layers as L
from sklearn.datasets import load_digits

import lth_tf
from export.compaction.compact import compact
from lth_tf.masking.model import get_masks, get_weights, load_model
from lth_tf.runs.stage import Stage
from lth_tf.tickets.load import load_ticket
from tests.methods import small
from tests.small_runs import Starts

LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def digits():
    inputs, labels = load_digits(return_X_y=True)
    return (inputs / 16).astype(np.float32)[:400], labels.astype(np.int32)[:400]


def new_model(optimizer="adam"):
    """Two convolutions that are added, normalized."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((64,))
    x = L.Reshape((8, 8, 1))(inputs)
    x = shortcut = L.Conv2D(8, 3, name="first")(x)
    x = L.Conv2D(8, 3, padding="same", use_bias=False, name="second")(x)
    x = L.ReLU()(L.Add()([L.BatchNormalization(name="norm")(x), shortcut]))
    x = L.Dense(10, name="output")(L.GlobalAveragePooling2D()(x))
    model = keras.Model(inputs, x, name="small")
    model.compile(optimizer, LOSS, metrics=["accuracy"])
    return model


def assert_same_channels(masks, kept):
    """The same channels are left in all that is theirs."""
    alive = masks["first/bias"]
    assert alive.sum() == kept
    for path in ("first/kernel", "second/kernel", "norm/gamma", "norm/beta"):
        np.testing.assert_array_equal(masks[path], np.broadcast_to(alive, masks[path].shape))
    assert masks["output/kernel"].all() and "output/bias" not in masks


@pytest.mark.parametrize("network", [small.dense, small.convolutions])
def test_levels_of_a_run(network, tmp_path, monkeypatch):
    starts = Starts(monkeypatch).models
    config = small.CONFIG.replace(
        network=network, granularity="channel", levels=2, random_masks=1, inversions=1,
        prune_rate_fc=0.25, prune_rate_conv=0.25, optimizer="momentum",
    )  # fmt: skip
    run_dir = lth_tf.find_tickets(config, small.data(), tmp_path / "run")
    units, of_each = (24, 65) if network is small.dense else (4, 1 + 9 + 1 + 1 + 1)
    output = 240 if network is small.dense else 40
    left = [units, round(0.75 * units), {24: 14, 4: 2}[units]]  # 24, 18, 13.5: halves to even
    for level, count in enumerate(left):
        for control in ("", "random_0", "inverted_0"):
            stage = Stage(level, control)
            assert run_dir.summary(stage)["remaining"] == count * of_each + output
            masks, trained = run_dir.mask(stage), run_dir.trained(stage)
            for path, mask in masks.items():
                assert (trained[path][mask == 0] == 0).all()
        assert (run_dir.mask(Stage(level))["output/kernel"] == 1).all()
        kept, start = starts[f"level_{level:02d}"]
        for path, value in run_dir.origin().items():
            expected = value * kept[path] if path in kept else value
            np.testing.assert_array_equal(start[path], expected)
    ticket = load_ticket(run_dir, 2, scale=False)
    x = small.data().test.inputs[:50]
    compacted = compact(ticket)
    np.testing.assert_allclose(compacted(x), ticket(x), atol=1e-5)
    first = compacted.get_layer("fc1" if network is small.dense else "conv1")
    assert first.kernel.shape[-1] == left[2]
    assert run_dir.config() == dataclasses.replace(config, dataset=small.data().name)


@pytest.mark.parametrize("method", ["gradual", "at_init"])
def test_one_training_a_density(method, tmp_path):
    config = small.config_of(
        method, network=small.convolutions, granularity="channel", prune_rate_conv=0.5
    ).replace(final_density=(0.75,))  # of 4 channels of 13 weights and 40 of the output
    run_dir = lth_tf.find_tickets(config, small.data(), tmp_path / "run")
    masks = run_dir.mask(Stage(1))
    assert run_dir.summary(Stage(1))["remaining"] == 2 * 13 + 40
    assert masks["conv1_bn/beta"].sum() == 2
    for path in ("conv1/kernel", "shortcut/kernel", "conv1_bn/gamma"):
        alive = masks["conv1_bn/beta"]
        np.testing.assert_array_equal(masks[path], np.broadcast_to(alive, masks[path].shape))
        assert not run_dir.trained(Stage(1))[path][masks[path] == 0].any()


def test_levels_in_fit(digits, tmp_path):
    callback = lth_tf.TicketCallback(
        tmp_path / "run", epochs_per_level=1, levels=2, prune_rates=0.5, granularity="channel",
        verbose=0,
    )  # fmt: skip
    model = new_model(keras.optimizers.SGD(0.05, momentum=0.9))
    model.fit(*digits, callbacks=[callback], epochs=callback.epochs, validation_split=0.25,
              verbose=0)  # fmt: skip
    for level, kept in enumerate((8, 4, 2)):
        assert_same_channels(callback.run_dir.mask(Stage(level)), kept)
    trained = callback.run_dir.trained(Stage(2))
    for path, value in get_weights(model).items():
        np.testing.assert_array_equal(value, trained[path])
    gone = callback.run_dir.mask(Stage(2))["first/bias"] == 0
    assert not any(trained[f"{name}"][..., gone].any() for name in ("norm/gamma", "norm/beta"))
    plain = load_ticket(callback.run_dir, 2)
    np.testing.assert_array_equal(plain(digits[0]), model(digits[0]))


@pytest.mark.parametrize("criterion", ["magnitude", "squared_magnitude"])
def test_gradual_pruning_in_fit(criterion, digits, tmp_path):
    prune = lth_tf.PruneCallback(
        0.25, begin_step=4, end_step=20, frequency=4, granularity="channel", criterion=criterion,
        verbose=0,
    )  # fmt: skip
    model = new_model()
    model.fit(*digits, epochs=2, batch_size=20, callbacks=[prune], verbose=0)
    assert_same_channels(get_masks(model), 2)
    model.save(tmp_path / "masked.keras")
    loaded = load_model(str(tmp_path / "masked.keras"))
    assert_same_channels(get_masks(loaded), 2)
    np.testing.assert_array_equal(loaded(digits[0]), model(digits[0]))
    small = compact(lth_tf.strip_masks(model))
    np.testing.assert_allclose(small(digits[0]), model(digits[0]), atol=1e-5)
    assert small.count_params() == (9 + 1) * 2 + (9 * 2 + 4) * 2 + (2 + 1) * 10


def test_two_of_four_in_fit(digits):
    prune = lth_tf.PruneCallback(0.5, begin_step=4, schedule="constant", granularity="2:4",
                                 verbose=0)  # fmt: skip
    model = new_model()
    model.fit(*digits, epochs=1, batch_size=20, callbacks=[prune], verbose=0)
    kept = get_masks(model)["second/kernel"].reshape(3, 3, 2, 4, 8).sum(3)
    assert (kept == 2).all()
