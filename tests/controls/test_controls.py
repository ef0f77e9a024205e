"""Every control on a ticket of one layer, written down."""

import numpy as np
import pytest

from lth_tf.config import CONTROLS, ExperimentConfig
from lth_tf.methods.base import Context
from lth_tf.runs.stage import Stage
from lth_tf.seeding import generator
from lth_tf.tickets.procedure import control_label
from tests.small_runs import run

ORIGIN = np.array([0.5, -2.0, 1.0, -0.1, 3.0, -1.5])
TRAINED = np.array([0.5, 0.0, -2.0, 0.3, 4.0, -1.0])
BEFORE = np.array([1, 0, 1, 1, 1, 1], np.uint8)
TICKET = np.array([0, 0, 1, 0, 1, 1], np.uint8)  # of the largest trained weights
NEW = np.array([0.7, 0.6, -0.5, 0.4, 0.3, 0.2])


class Files:
    """What a run directory would hold at level 1."""

    def origin(self):
        return {"w": ORIGIN.copy(), "bias": np.array([0.25])}

    def mask(self, stage):
        assert stage == Stage(0)
        return {"w": BEFORE}

    def trained(self, stage):
        assert stage == Stage(0)
        return {"w": TRAINED}


def prepared(kind, seed=0, **options):
    """Returns mask, weights and start of a control of level 1; rewound to iteration 5."""
    context = Context(
        config=ExperimentConfig(seed=seed),
        rates={"w": 0.4},
        dense={"w": np.ones(6, np.uint8)},
        run_dir=Files(),
        rewind=5,
        new_weights=lambda *stream: {"w": NEW.copy(), "bias": np.array([0.0])},
    )
    control = CONTROLS.get(kind)(**options)
    start = Files().origin()
    masks, weights, iteration = control.prepare(f"{kind}_0", 1, {"w": TICKET}, start, context)
    assert masks["w"].dtype == np.uint8 and weights["w"].dtype == ORIGIN.dtype
    return masks["w"].tolist(), weights["w"], iteration, weights["bias"].item()


def test_same_sign_has_new_sizes_and_the_signs_of_the_ticket():
    masks, weights, start, bias = prepared("same_sign")
    assert (masks, start, bias) == (TICKET.tolist(), 0, 0.0)
    assert weights.tolist() == [0.7, -0.6, 0.5, -0.4, 0.3, -0.2]


def test_constant_is_one_value_with_the_signs_of_the_ticket():
    masks, weights, start, bias = prepared("constant")
    assert (masks, start, bias) == (TICKET.tolist(), 5, 0.25)
    sigma = np.sqrt((0.25 + 4 + 1 + 0.01 + 9 + 2.25) / 6 - 0.15**2)
    np.testing.assert_allclose(weights, sigma * np.array([1, -1, 1, -1, 1, -1]))


def test_constant_with_random_signs():
    signs = {tuple(np.sign(prepared("constant", s, constant_signs="random")[1])) for s in range(9)}
    assert len(signs) > 4


def test_survivors_draw_from_what_the_ticket_keeps():
    drawn = [prepared("survivors", seed) for seed in range(30)]
    values = np.concatenate([weights[TICKET == 1] for _, weights, _, _ in drawn])
    assert set(values) == {1.0, 3.0, -1.5}
    # With replacement: a value may come twice.
    assert any(len(set(weights[TICKET == 1])) < 3 for _, weights, _, _ in drawn)
    assert drawn[0][0] == TICKET.tolist() and drawn[0][2:] == (5, 0.25)


def test_layer_shuffle_changes_the_places_of_the_survivors():
    orders = [prepared("layer_shuffle", seed) for seed in range(20)]
    for masks, weights, start, bias in orders:
        assert (masks, start, bias) == (TICKET.tolist(), 5, 0.25)
        assert sorted(weights[TICKET == 1]) == [-1.5, 1.0, 3.0]
        np.testing.assert_array_equal(weights[TICKET == 0], ORIGIN[TICKET == 0])
    assert len({tuple(weights) for _, weights, _, _ in orders}) == 6


def test_noise_is_measured_in_standard_deviations_of_the_origin():
    random = generator(0, "noise_0", 1, "noise").normal(0.0, 2.0 * ORIGIN.std(), (6,))
    masks, weights, start, bias = prepared("noise", noise_sigma=2.0)
    assert (masks, start, bias) == (TICKET.tolist(), 5, 0.25)
    np.testing.assert_array_equal(weights, ORIGIN + random)
    np.testing.assert_array_equal(prepared("noise", noise_sigma=0.0)[1], ORIGIN)


def test_pruning_at_iteration_0_keeps_the_largest_of_the_origin():
    masks, weights, start, _ = prepared("at_iteration_0")
    assert (masks, start) == ([0, 1, 0, 0, 1, 1], 5)
    np.testing.assert_array_equal(weights, ORIGIN)


def test_inverted_scores_keep_the_smallest_of_what_was_left():
    masks, weights, start, _ = prepared("inverted")
    # The second weight is pruned already; of the others 0.3, 0.5 and -1 are smallest.
    assert (masks, start) == ([1, 0, 0, 1, 0, 1], 5)
    np.testing.assert_array_equal(weights, ORIGIN)


@pytest.mark.parametrize("method", ["imp", "at_init"])
def test_all_controls_are_trained_at_every_level(method, tiny, digits, tmp_path):
    kinds = CONTROLS.names()
    counts = {count_of(kind): 1 for kind in kinds}
    config = tiny.replace(method=method, iterations=2, eval_interval=2, test_interval=0, **counts)
    config = config.replace(**({"levels": 1} if method == "imp" else {"final_density": (0.5,)}))
    run_dir = run(tmp_path / "run", config, digits, jit="off")
    for level in (0, 1):
        kept = {path: int(mask.sum()) for path, mask in run_dir.mask(Stage(level)).items()}
        for kind in kinds:
            mask = run_dir.mask(Stage(level, f"{kind}_0"))
            assert {path: int(m.sum()) for path, m in mask.items()} == kept, kind
    assert len({control_label(f"{kind}_0") for kind in kinds}) == len(kinds)


def count_of(kind):
    return next(iter(CONTROLS.get(kind).__dataclass_fields__))


def test_controls_at_some_levels_only(tiny, digits, tmp_path):
    config = tiny.replace(iterations=2, eval_interval=2, test_interval=0, reinits=1)
    run_dir = run(tmp_path / "run", config.replace(control_levels=(2,)), digits)
    assert run_dir.finished() == [Stage(0), Stage(1), Stage(2), Stage(2, "reinit_0")]
    run(run_dir.path, config, digits)  # more of them are asked for later
    assert [s.level for s in run_dir.finished() if s.control] == [0, 1, 2]
