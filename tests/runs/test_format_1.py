"""A run directory that an older version wrote (three levels of a small network in `fit`)."""

import pathlib
import shutil

import numpy as np
import pytest

from lth_tf.errors import UsageError
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

STORED = pathlib.Path(__file__).with_name("format_1") / "fit" / "seed_0"


@pytest.fixture
def run_dir(tmp_path):
    return RunDir(shutil.copytree(STORED, tmp_path / "seed_0"))


def test_it_is_read(run_dir):
    assert run_dir.provenance()["format"] == 1
    assert run_dir.config().epochs_per_level == 2
    assert run_dir.finished() == [Stage(0), Stage(1), Stage(2)]
    assert [run_dir.summary(Stage(k))["remaining"] for k in range(3)] == [592, 320, 179]
    assert all(run_dir.has(Stage(k)) for k in range(3))
    assert run_dir.history(Stage(2))["iteration"].tolist() == [10, 20]
    assert len(run_dir.metrics()) == 6
    trained, ticket = run_dir.trained(Stage(2)), run_dir.ticket(2)
    assert {path: int(np.count_nonzero(value)) for path, value in trained.items()} == {
        "fc/kernel": 128,
        "fc/bias": 8,
        "output/kernel": 51,
        "output/bias": 10,
    }
    assert np.abs(trained["fc/kernel"]).sum() == pytest.approx(36.054657)
    np.testing.assert_array_equal(ticket["fc/kernel"] != 0, run_dir.mask(Stage(2))["fc/kernel"])


def test_it_is_added_to(run_dir):
    old = run_dir.trained(Stage(2))
    with run_dir.writing(run_dir.config(), {}):
        masks = run_dir.mask(Stage(1))
        history = run_dir.history(Stage(1))
        assert history.keys() >= {"iteration", "validation_loss"}
    assert run_dir.provenance()["format"] == 2
    np.testing.assert_array_equal(run_dir.trained(Stage(2))["fc/kernel"], old["fc/kernel"])
    assert masks["fc/kernel"].sum() + masks["output/kernel"].sum() == 320


@pytest.mark.parametrize("of, under", [(1, 2), (0, 1)])
def test_denser_weights_under_the_name_of_a_level_are_noticed(of, under, run_dir):
    source, target = (run_dir.level_path(Stage(k), "weights.npz") for k in (of, under))
    shutil.copy(source, target)
    with pytest.raises(UsageError, match="'fc/kernel' has weights where mask.npz has none"):
        run_dir.trained(Stage(under))
