"""What is on the disk of a stage: small, exact, tied to the stage, and bounded when it is read."""

import json
import os
import shutil
import zipfile

import numpy as np
import pytest

from lth_tf.config import ExperimentConfig
from lth_tf.errors import UsageError
from lth_tf.files import read_arrays, write_arrays
from lth_tf.runs.history import Correct, Evaluation, History
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN, Stage

READ = {
    "mask.npz": RunDir.mask,
    "weights.npz": RunDir.trained,
    "history.npz": RunDir.history,
    "correct.npz": RunDir.correct,
}
RUN_FILES = ["config.json", "origin.npz", "metrics.jsonl"]
# Nine and eight of ten labels.
CORRECT = Correct(early_stop=np.arange(10) != 3, final=np.arange(10) % 5 != 0, chance=0.2)
HISTORY = History([Evaluation(3, 0.5, 0.4, 0.9, None)], 3, 0.9, 0.8, 1.0, 1.0, correct=CORRECT)


def save(run_dir, stage, density, seed=0, size=1000):
    generator = np.random.default_rng(seed)
    masks = {"fc/kernel": (generator.random((size, 10)) < density).astype(np.uint8)}
    weights = {
        "fc/kernel": generator.standard_normal((size, 10)).astype(np.float32) * masks["fc/kernel"],
        "fc/bias": generator.standard_normal(10).astype(np.float16),
    }
    run_dir.save_stage(stage, masks, weights, HISTORY)
    return masks, weights


@pytest.fixture
def run_dir(tmp_path):
    run_dir = RunDir(tmp_path / "seed_0")
    with run_dir.writing(ExperimentConfig(dataset="digits"), {}):
        save(run_dir, Stage(0), 1.0)
        save(run_dir, Stage(1), 0.2)
        save(run_dir, Stage(2), 0.2, seed=1)
        save(run_dir, Stage(2, "reinit_0"), 0.2, seed=2)
    return run_dir


@pytest.mark.parametrize("density", [0.0, 0.001, 0.3, 1.0])
def test_weights_come_back_bit_for_bit(density, run_dir):
    masks, weights = save(run_dir, Stage(5), density)
    found, trained = run_dir.mask(Stage(5)), run_dir.trained(Stage(5))
    assert list(trained) == ["fc/kernel", "fc/bias"]
    assert found["fc/kernel"].dtype == np.uint8
    np.testing.assert_array_equal(found["fc/kernel"], masks["fc/kernel"])
    for path, value in weights.items():
        assert trained[path].dtype == value.dtype
        np.testing.assert_array_equal(trained[path], value)


@pytest.mark.parametrize("density, share", [(0.01, 0.0145), (0.1, 0.12), (1.0, 1.001)])
def test_a_stage_takes_the_disk_of_what_is_kept(density, share, run_dir):
    save(run_dir, Stage(5), density, size=100_000)
    files = [run_dir.level_path(Stage(5), name) for name in ("mask.npz", "weights.npz")]
    dense = 4 * 100_000 * 10
    assert density * 0.99 < sum(file.stat().st_size for file in files) / dense < share


@pytest.mark.parametrize("name", list(READ))
@pytest.mark.parametrize("other", [Stage(1), Stage(2, "reinit_0")])
def test_files_of_another_stage_are_noticed(name, other, run_dir):
    shutil.copy(run_dir.level_path(other, name), run_dir.level_path(Stage(2), name))
    with pytest.raises(UsageError) as error:
        READ[name](run_dir, Stage(2))
    assert f"level_02/{name} (it is of {other}, not of level_02)" in str(error.value)


def test_a_whole_stage_under_another_name_is_noticed(run_dir):
    shutil.copytree(run_dir.path / "level_01", run_dir.path / "level_03")
    for read in (run_dir.has, run_dir.summary, run_dir.mask, run_dir.trained, run_dir.history):
        with pytest.raises(UsageError, match="it is of level_01, not of level_03"):
            read(Stage(3))


def test_which_labels_are_predicted_comes_back(run_dir):
    found = run_dir.correct(Stage(2))
    np.testing.assert_array_equal(found.early_stop, CORRECT.early_stop)
    np.testing.assert_array_equal(found.final, CORRECT.final)
    assert found.early_stop.dtype == bool and found.chance == 0.2
    assert found.accuracy("early_stop") == 0.9 and found.accuracy("final") == 0.8


def test_a_stage_of_an_earlier_version_says_nothing_of_single_labels(run_dir):
    file = run_dir.level_path(Stage(2), "summary.json")
    summary = json.loads(file.read_text())
    del summary["bytes"]["correct.npz"]
    file.write_text(json.dumps(summary))
    run_dir.level_path(Stage(2), "correct.npz").unlink()
    assert run_dir.has(Stage(2)) and run_dir.correct(Stage(2)) is None
    assert run_dir.correct(Stage(1)) is not None


@pytest.mark.parametrize(
    "change, said",
    [
        ({"labels": np.array(0)}, "early_stop does not hold 0 bits"),
        ({"labels": np.array(40)}, "early_stop does not hold 40 bits"),
        ({"labels": np.array(9)}, "early_stop is not of the accuracy in summary.json"),
        ({"chance": np.array(np.nan)}, "labels is 10, chance nan"),
        ({"final": np.zeros(2)}, "final does not hold 10 bits"),
        ({"final": np.zeros(2, np.uint8)}, "final is not of the accuracy in summary.json"),
    ],
)
def test_damaged_labels_are_noticed(change, said, run_dir):
    file = run_dir.level_path(Stage(2), "correct.npz")
    write_arrays(file, {**read_arrays(file), **change})
    with pytest.raises(UsageError, match=f"Could not read .*correct.npz .*{said}"):
        run_dir.correct(Stage(2))


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_weights_that_are_no_numbers_are_refused(bad, run_dir):
    masks, weights = save(run_dir, Stage(5), 1.0)
    weights["fc/bias"][3] = bad
    run_dir.save_stage(Stage(5), masks, weights, HISTORY)
    run_dir.save_origin(weights)
    for read in (lambda: run_dir.trained(Stage(5)), run_dir.origin, lambda: run_dir.ticket(5)):
        with pytest.raises(UsageError, match="npz .'fc/bias' is NaN or infinite"):
            read()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"density": "0.2"}, "density is '0.2'"),
        ({"density": 1.5}, "density is 1.5"),
        ({"density": None}, "density is None"),
        ({"remaining": 10**9}, "remaining 1000000000"),
        ({"total": [1]}, r"total is \[1\]"),
        ({"early_stop_iteration": 2.5}, "early_stop_iteration is 2.5"),
        ({"early_stop_test_accuracy": {}}, "early_stop_test_accuracy is {}"),
        ({"early_stop_validation_loss": float("nan")}, "early_stop_validation_loss is nan"),
        ({"level": "2"}, "Unknown format code 'd'|it is of"),
        ({"level": 1}, "it is of level_01, not of level_02"),
        ({"control": 7}, "it is of level_02/7"),
        ({"bytes": {"../../secret": 1}}, "bytes is"),
        ({"bytes": []}, "bytes is"),
        ({"metric": 3}, "metric is not a text"),
        ({"final_test_accuracy": 10**400}, "too large"),
        ({"seconds": 10**400}, "too large"),
        ({"early_stop_iteration": 2**63}, "early_stop_iteration is too large"),
    ],
)
def test_summaries_are_checked_by_type(change, said, run_dir):
    file = run_dir.level_path(Stage(2), "summary.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), **change}))
    with pytest.raises(UsageError, match=f"Could not read .*summary.json .*({said})"):
        run_dir.summary(Stage(2))


@pytest.mark.parametrize(
    "columns",
    [
        {},
        {"iteration": np.array(["a"])},
        {"iteration": np.array([1.0, 2.0])},
        {"iteration": np.array([[1.0]])},
        {"iteration": np.array([np.nan])},
    ],
)
def test_history_columns_are_checked_by_type(columns, run_dir):
    file = run_dir.level_path(Stage(2), "history.npz")
    whole = read_arrays(file)
    write_arrays(file, {**whole, **columns} if columns else {"#stage": whole["#stage"]})
    with pytest.raises(UsageError, match="Could not read .*history.npz"):
        run_dir.history(Stage(2))


@pytest.mark.parametrize(
    "line", ["7", "[]", "{}", '{"level": "0", "control": "", "iteration": 1}', '"' + "[" * 10**5]
)
def test_metrics_are_checked_by_type(line, run_dir):
    run_dir.append_metrics(Stage(0), {"iteration": 1})
    text = (run_dir.path / "metrics.jsonl").read_text()
    (run_dir.path / "metrics.jsonl").write_text(f"{text}{line}\n{text}")
    with pytest.raises(UsageError, match="metrics.jsonl .line 2: "):
        run_dir.metrics()


@pytest.mark.parametrize("name", [*RUN_FILES, "level_00/mask.npz"])
@pytest.mark.parametrize("what", ["endless device", "pipe", "folder"])
def test_what_has_no_end_is_not_read(name, what, run_dir):
    run_dir.save_origin({"fc/bias": np.zeros(3)})
    run_dir.append_metrics(Stage(0), {"iteration": 1})
    file = run_dir.path / name
    file.unlink()
    if what == "endless device":
        file.symlink_to("/dev/zero")
    elif what == "pipe":
        os.mkfifo(file)
    else:
        file.mkdir()
    read = {
        "config.json": run_dir.config,
        "origin.npz": run_dir.origin,
        "metrics.jsonl": run_dir.metrics,
        "level_00/mask.npz": lambda: run_dir.mask(Stage(0)),
    }
    with pytest.raises(UsageError, match=f"{name} .not a file"):
        read[name]()


def test_an_archive_that_would_fill_the_memory_is_not_read(run_dir):
    for name in ("mask.npz", "weights.npz", "history.npz"):
        with zipfile.ZipFile(run_dir.level_path(Stage(2), name), "w", zipfile.ZIP_DEFLATED) as file:
            with file.open("fc/kernel.npy", "w", force_zip64=True) as member:
                np.lib.format.write_array_header_1_0(
                    member, {"descr": "|u1", "fortran_order": False, "shape": (300 << 20,)}
                )
                for _ in range(300):
                    member.write(bytes(1 << 20))
        with pytest.raises(UsageError, match=f"{name} .314,5.* bytes in an archive of 3"):
            READ[name](run_dir, Stage(2))


def test_an_array_that_says_it_is_larger_is_not_made(run_dir):
    with zipfile.ZipFile(run_dir.path / "origin.npz", "w") as file:
        with file.open("fc/kernel.npy", "w") as member:
            np.lib.format.write_array_header_1_0(
                member, {"descr": "<f4", "fortran_order": False, "shape": (10**13,)}
            )
    with pytest.raises(UsageError, match=r"origin.npz .not an array of shape .10000000000000,"):
        run_dir.origin()


def test_masks_of_ones_are_read_however_well_they_deflate(run_dir):
    masks = {"w": np.ones(600_000_000 // 8, np.uint8).reshape(-1, 1000)}
    weights = {"w": np.zeros(masks["w"].shape, np.float16)}
    run_dir.save_stage(Stage(9), masks, weights, HISTORY)
    assert run_dir.level_path(Stage(9), "mask.npz").stat().st_size < 20_000
    assert run_dir.mask(Stage(9))["w"].all()


def test_nested_json_is_one_line(run_dir):
    (run_dir.path / "config.json").write_text("[" * 10**6)
    with pytest.raises(UsageError, match="config.json .maximum recursion depth"):
        run_dir.config()


def test_control_characters_of_a_file_do_not_reach_the_terminal(run_dir):
    file = run_dir.level_path(Stage(2), "summary.json")
    file.write_text(json.dumps({**json.loads(file.read_text()), "control": "\x1b[31m\nred"}))
    with pytest.raises(UsageError) as error:
        run_dir.summary(Stage(2))
    assert str(error.value).isprintable()


def test_stages_by_name():
    for stage in (Stage(0), Stage(7, "reinit_0"), Stage(100, "same-sign_3"), ORIGIN):
        assert Stage.parse(str(stage)) == stage
    for text in ("", "level_", "level_7", "level_007", "level_01/", "level_01/..", "level_01/a/b"):
        assert Stage.parse(text) is None
    assert sorted([Stage(1), Stage(0, "random_0"), Stage(0)])[0] == Stage(0)


def test_folders_that_are_no_stages_are_left_out(run_dir):
    finished = run_dir.finished()
    summary = run_dir.level_path(Stage(2), "summary.json")
    for name in ("level_x", "level_02/.hidden", "level_02/a/b", "copy of level_02"):
        (run_dir.path / name).mkdir(parents=True)
        shutil.copy(summary, run_dir.path / name)
    assert run_dir.finished() == finished
