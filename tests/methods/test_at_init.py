"""Pruning at initialization."""

import numpy as np
import pytest

from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import network_procedure, new_model
from tests.conftest import TINY
from tests.small_runs import Starts, run

AT_INIT = TINY.replace(method="at_init", final_density=(0.2, 0.05), iterations=20)


def masks_of(config, data, path, level=1):
    """Returns the masks that a level would start from; nothing is trained."""
    run_dir = RunDir(path)
    with run_dir.writing(config, {}):
        procedure = network_procedure(config, data, run_dir, new_model(config, data, "init"))
        return procedure, procedure.ticket(Stage(level)).masks


def test_levels_are_densities_of_the_initialization(digits, tmp_path, monkeypatch):
    starts = Starts(monkeypatch).models
    run_dir = run(tmp_path / "run", AT_INIT.replace(criterion="magnitude"), digits, jit="off")
    assert [run_dir.summary(Stage(n))["remaining"] for n in range(3)] == [266_200, 53_241, 13_309]
    origin = run_dir.origin()
    for level in (1, 2):
        masks, start = starts[f"level_{level:02d}"]
        for path, mask in masks.items():
            magnitude = np.abs(origin[path])
            assert magnitude[mask == 0].max() <= magnitude[mask == 1].min()
            np.testing.assert_array_equal(start[path], origin[path] * mask)
            np.testing.assert_array_equal(run_dir.mask(Stage(level))[path], mask)


@pytest.mark.parametrize("criterion", ["snip", "grasp"])
def test_scores_are_taken_on_training_examples(criterion, digits, tmp_path):
    config = AT_INIT.replace(criterion=criterion, scope="global")
    procedure, masks = masks_of(config, digits, tmp_path / "run")
    assert sum(int(mask.sum()) for mask in masks.values()) == procedure.plan[1] == 53_240
    # Pixels that are always 0 have no gradient. Digits have such a border.
    edge = masks["fc1/kernel"][0]
    if criterion == "snip":
        assert not edge.any()


def test_synflow_never_empties_a_layer(digits, tmp_path):
    config = TINY.replace(
        method="at_init",
        criterion="synflow",
        scope="global",
        final_density=(0.001,),
        prune_rate_output=0.2,
    )
    procedure, masks = masks_of(config, digits, tmp_path / "rounds")
    counts = {path: int(mask.sum()) for path, mask in masks.items()}
    assert sum(counts.values()) == procedure.plan[1] == 266
    assert min(counts.values()) >= 10
    # Each weight left lies on a path from the input to the output.
    assert (masks["fc1/kernel"].any(0) == masks["fc2/kernel"].any(1)).all()
    assert (masks["fc2/kernel"].any(0) == masks["output/kernel"].any(1)).all()


def test_random_at_layer_densities(digits, tmp_path):
    config = AT_INIT.replace(criterion="random", scope="erk", final_density=(0.1,))
    _, masks = masks_of(config, digits, tmp_path / "run")
    kept = [round(float(mask.mean()), 4) for mask in masks.values()]
    assert kept == [0.0796, 0.2302, 1.0]
