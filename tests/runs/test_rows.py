"""Runs as rows for tables."""

import pathlib
import shutil
import subprocess
import sys

import pytest

import lth_tf

STORED = pathlib.Path(__file__).with_name("format_1") / "fit" / "seed_0"


@pytest.fixture
def folder(tmp_path):
    """Two copies of a stored run."""
    for seed in (0, 1):
        shutil.copytree(STORED, tmp_path / f"seed_{seed}")
    return tmp_path


def test_a_row_for_every_training(folder):
    rows = lth_tf.runs(folder)
    assert [(row["run"], row["level"], row["control"]) for row in rows] == [
        (str(folder / f"seed_{seed}"), level, "") for seed in (0, 1) for level in (0, 1, 2)
    ]
    assert [row["remaining"] for row in rows[:3]] == [592, 320, 179]
    assert [round(row["density"], 4) for row in rows[:3]] == [1.0, 0.5405, 0.3024]
    assert {row["epochs_per_level"] for row in rows} == {2}
    assert {row["method"] for row in rows} == {"imp"}
    assert all(row.keys() == rows[0].keys() for row in rows)


def test_no_tensorflow_is_waited_for(folder):
    code = (
        "import sys, lth_tf; print(len(lth_tf.runs(sys.argv[1]))); "
        "assert not {'tensorflow', 'keras'} & set(sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, str(folder)], check=True, capture_output=True, text=True
    )
    assert done.stdout == "6\n"


def test_the_package_keeps_its_modules():
    import lth_tf.runs.stage

    assert str(lth_tf.runs.stage.Stage(3)) == "level_03"


def test_mistakes_are_one_line(folder):
    with pytest.raises(lth_tf.UsageError, match="finished level. Received: .*nothing, which does"):
        lth_tf.runs(folder / "nothing")
    (folder / "seed_1" / "level_01" / "summary.json").write_text("{")
    with pytest.raises(lth_tf.UsageError, match="seed_1/level_01/summary.json"):
        lth_tf.runs(folder)
