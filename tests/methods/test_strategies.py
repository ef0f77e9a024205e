"""Strategies with names: what they start from, at which rates, and when they stop."""

import numpy as np
import pytest

from lth_tf.errors import RunError, UsageError
from lth_tf.masking import model as masked
from lth_tf.methods.base import Ticket
from lth_tf.methods.early_bird import EarlyBird
from lth_tf.runs.stage import SEARCH, Stage
from lth_tf.tickets import stability
from lth_tf.tickets.find import new_model
from tests.methods import small
from tests.small_runs import Starts, run


@pytest.mark.parametrize(
    "method, options",
    [
        ("oneshot", {"strategy": "oneshot"}),
        ("learning_rate_rewinding", {"start": "continue", "rewind_iteration": 4}),
        ("late_rewinding", {"rewind_iteration": 4}),
    ],
)
def test_names_are_options_of_imp(method, options, tmp_path):
    rewind = {k: v for k, v in options.items() if k == "rewind_iteration"}
    common = {"levels": 2, "lr_drops": (8,)}
    config = small.config_of(method, **rewind, **common)
    named = run(tmp_path / "named", config, small.data(), jit="off")
    config = small.config_of("imp", **options, **common)
    plain = run(tmp_path / "imp", config, small.data(), jit="off")
    assert named.finished() == plain.finished()
    for stage in plain.finished():
        for kind in ("mask", "trained", "history"):
            ours, theirs = getattr(named, kind)(stage), getattr(plain, kind)(stage)
            for name, value in theirs.items():
                np.testing.assert_array_equal(ours[name], value)


@pytest.mark.parametrize(
    "stage, expected", [(Stage(0), 0.01), (Stage(1), 0.001), (Stage(1, "reinit_0"), 0.01)]
)
def test_fine_tuning_trains_at_the_last_rate(stage, expected):
    config = small.config_of("fine_tuning", lr_drops=(5,), learning_rate=0.01)
    hooks = config.method.hooks(None, {}, config)
    hooks.begin(Ticket(stage, {}, {}))
    assert float(hooks.learning_rate(np.float32(0.01), 0)) == pytest.approx(expected)


def test_fine_tuning_starts_from_trained_weights(tmp_path, monkeypatch):
    starts = Starts(monkeypatch).models
    run_dir = run(tmp_path / "run", small.config_of("fine_tuning"), small.data(), jit="off")
    masks, start = starts["level_01"]
    trained = run_dir.trained(Stage(0))["fc1/kernel"]
    np.testing.assert_array_equal(start["fc1/kernel"], trained * masks["fc1/kernel"])


class Line:
    """A trainer whose errors are known."""

    model = None

    def __init__(self, errors):
        self.errors, self.settled = iter(errors), 0

    def settle_statistics(self):
        self.settled += 1

    def evaluate(self, split):
        assert split == "validation"
        return 0.0, 1 - next(self.errors)


def test_barrier_is_the_largest_error_above_the_mean_of_the_ends(monkeypatch):
    mixed = []
    monkeypatch.setattr(masked, "weight_variables", lambda _: {"w": None})
    monkeypatch.setattr(masked, "set_weights", lambda _, w: mixed.append(w["w"].item()))
    one, other = {"w": np.float32([2.0])}, {"w": np.float32([5.0])}
    line = Line([0.1, 0.4, 0.3, 0.2])
    assert stability.barrier(line, one, other, points=4) == pytest.approx(0.4 - 0.15)
    assert mixed == [2.0, 3.0, 4.0, 5.0] and line.settled == 4
    assert stability.barrier(Line([0.3, 0.1, 0.3]), one, other, points=3) == 0.0


AUTO = small.config_of("imp", rewind="auto", iterations=50, eval_interval=4)


def test_rewinds_to_the_first_iteration_that_is_stable(tmp_path, monkeypatch):
    barriers = iter([0.3, 0.02, 0.019])  # from iterations 0, 1 and 2: half of 1 % is none
    monkeypatch.setattr(stability, "barrier", lambda *_: next(barriers))
    starts = Starts(monkeypatch).models
    run_dir = run(tmp_path / "run", AUTO, small.data(), jit="off")
    forks = ["fork_50", "fork_0", "fork_1", "fork_2"]
    assert {stage.control for stage in run_dir.finished()} == {"", *forks}
    config = AUTO.replace(rewind="iteration", rewind_iteration=2)
    other = run(tmp_path / "plain", config, small.data(), jit="off")
    for stage in (Stage(0), Stage(1)):
        for path, value in other.trained(stage).items():
            np.testing.assert_array_equal(run_dir.trained(stage)[path], value)
    whole = run_dir.trained(Stage(0, "fork_50"))["fc1/kernel"]
    moved = [np.abs(run_dir.trained(Stage(0, fork))["fc1/kernel"] - whole) for fork in forks[1:]]
    assert all(distance.max() > 0 for distance in moved)
    begun = len(starts)
    run(run_dir.path, AUTO, small.data(), jit="off")
    assert len(starts) == begun


def test_a_network_that_is_never_stable_is_an_error(tmp_path, monkeypatch):
    monkeypatch.setattr(stability, "barrier", lambda *_: 0.5)
    monkeypatch.setattr(stability, "CANDIDATES", (0.0,))
    with pytest.raises(RunError, match="error barriers of 50.0 % from 0. Give rewind_iteration"):
        run(tmp_path / "run", AUTO, small.data(), jit="off")


def test_auto_and_an_iteration_are_refused():
    with pytest.raises(UsageError, match="rewind=auto without rewind_iteration"):
        small.config_of("imp", rewind="auto", rewind_iteration=3)


def test_early_bird_stops_where_masks_have_settled(tmp_path):
    config = small.config_of("early_bird", early_bird_window=2, early_bird_distance=1.0)
    run_dir = run(tmp_path / "run", config, small.data(), jit="off")
    assert run_dir.summary(Stage(1, SEARCH))["iterations"] == 4
    magnitude = np.abs(run_dir.trained(Stage(1, SEARCH))["fc1/kernel"])
    mask = run_dir.mask(Stage(1))["fc1/kernel"]
    assert magnitude[mask == 0].max() <= magnitude[mask == 1].min()
    assert run_dir.summary(Stage(1))["iterations"] == 12


def test_early_bird_compares_all_masks_of_the_window(monkeypatch):
    # Of 4 quarters two are kept; 0.51 is less than all and more than none exchanged.
    drawn = iter([[1, 1, 0, 0], [0, 0, 1, 1], [0, 1, 0, 1], [0, 1, 0, 1], [0, 1, 1, 0]])

    def draw(*_):
        return {"fc1/kernel": np.repeat(np.uint8(next(drawn)), 64 * 24 // 4)}

    monkeypatch.setattr(EarlyBird, "draw", draw)
    method = EarlyBird(final_density=(0.5,), early_bird_window=3, early_bird_distance=0.51)
    config = small.CONFIG.replace(method=method, prune_rate_output=0.0)
    model = new_model(config, small.data(), "init")
    hooks = method.hooks(model, {"fc1/kernel": 0.2, "output/kernel": 0.0}, config)
    hooks.begin(Ticket(Stage(1, SEARCH), {}, {}))
    hooks.restart(0)
    # The third is as far from both before it as may be; these two are too far apart.
    assert [hooks.evaluated(k) for k in range(1, 5)] == [False, False, False, True]
    hooks.begin(Ticket(Stage(1), {}, {}))
    assert not hooks.evaluated(5)
