"""Masks that are learned: what the papers promise of them, at a small size."""

import keras
import numpy as np
import pytest
from keras import layers

from lth_tf.runs.stage import SEARCH, Stage
from tests.methods import small
from tests.small_runs import Starts, run


def wide(input_shape, classes):
    return keras.Sequential(
        [
            keras.Input(input_shape),
            layers.Dense(200, "relu", name="fc1"),
            layers.Dense(classes, name="output"),
        ]
    )


def longer(method, **changes):
    return small.config_of(
        method, network=wide, iterations=300, eval_interval=100, batch_size=50, **changes
    )


@pytest.mark.parametrize("method", ["supermask", "edge_popup"])
def test_masks_alone_reach_80_percent(method, tmp_path):
    run_dir = run(tmp_path / "run", longer(method), small.data(), jit="off")
    summary = run_dir.summary(Stage(1))
    assert summary["final_test_accuracy"] > 0.8
    # What is counted is the mask of the end.
    assert summary["early_stop_iteration"] == 300
    origin, trained = run_dir.origin(), run_dir.trained(Stage(1))
    for path, mask in run_dir.mask(Stage(1)).items():
        chosen = origin[path]
        if method == "edge_popup":
            (size,) = np.unique(np.abs(trained[path][mask == 1]))
            chosen = np.copysign(size, origin[path])
        np.testing.assert_array_equal(trained[path], chosen * mask)
    np.testing.assert_array_equal(trained["fc1/bias"], np.zeros(200))


def test_edge_weights_are_the_standard_deviation_of_he_over_the_root_of_the_density(tmp_path):
    run_dir = run(tmp_path / "run", small.config_of("edge_popup"), small.data(), jit="off")
    size = np.abs(run_dir.trained(Stage(1))["fc1/kernel"]).max()
    density = run_dir.mask(Stage(1))["fc1/kernel"].mean()
    assert size == pytest.approx((2 / 64 / density) ** 0.5, rel=1e-5)


@pytest.fixture(scope="module")
def sparsified(tmp_path_factory):
    config = longer("continuous_sparsification", final_density=(0.3, 0.1), initial_score=-0.1)
    monkeypatch = pytest.MonkeyPatch()
    starts = Starts(monkeypatch).models
    run_dir = run(tmp_path_factory.mktemp("cs") / "run", config, small.data(), jit="off")
    monkeypatch.undo()
    return run_dir, starts


def test_tickets_of_continuous_sparsification_are_binary_and_hold_their_count(sparsified):
    run_dir, starts = sparsified
    origin = run_dir.origin()
    for level in (1, 2):
        scores = run_dir.trained(Stage(level, SEARCH))
        masks, start = starts[f"level_{level:02d}"]
        for path, mask in masks.items():
            assert set(np.unique(mask)) == {0, 1}
            score = scores[f"{path}#score"]
            assert score[mask == 0].max() <= score[mask == 1].min()
            np.testing.assert_array_equal(start[path], origin[path] * mask)
            np.testing.assert_array_equal(run_dir.mask(Stage(level))[path], mask)
    assert [run_dir.summary(Stage(n))["remaining"] for n in range(3)] == [14_800, 4_440, 1_480]
    assert run_dir.summary(Stage(1))["final_test_accuracy"] > 0.8


def test_the_next_search_goes_on_from_the_last(sparsified):
    run_dir, starts = sparsified
    _, start = starts["level_02/search"]
    before = run_dir.trained(Stage(1, SEARCH))
    np.testing.assert_array_equal(start["fc1/kernel"], before["fc1/kernel"])
    # Scores fell below -0.1 for what was of no use, and cannot come back above it at once.
    assert before["fc1/kernel#score"].min() < -0.1


def test_concrete_search_freezes_weights_and_leaves_few(tmp_path):
    config = longer("concrete_search", search_length=1.0, final_density=(0.1,))
    run_dir = run(tmp_path / "run", config, small.data(), jit="off")
    found, origin = run_dir.trained(Stage(1, SEARCH)), run_dir.origin()
    likely = []
    for path, mask in run_dir.mask(Stage(1)).items():
        np.testing.assert_array_equal(found[path], origin[path])
        likely.append(1 / (1 + np.exp(-found[f"{path}#score"])))
        assert mask.sum() == round(mask.size * mask.mean())
    assert run_dir.summary(Stage(1))["remaining"] == 1_480
    # The constraint: at most 1.1 times as many are expected, but for the last updates.
    assert sum(p.sum() for p in likely) < 1.2 * 1_480
    losses = run_dir.history(Stage(1, SEARCH))["train_loss"]
    assert losses[-1] < 0.8 * losses[1]
    assert np.isfinite(losses[1:]).all()
