import csv
import json
import shutil

import pytest

from experiments import overview, results, summary


@pytest.fixture(scope="module")
def two_seeds(finished_run, tmp_path_factory):
    """Two seeds of a run: the second with another number of its own in its config."""
    folder = tmp_path_factory.mktemp("runs") / "lenet" / "default"
    for seed in (0, 1):
        shutil.copytree(finished_run.path, folder / f"seed_{seed}")
    file = folder / "seed_1" / "config.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    return folder


def test_a_row_for_all_seeds_of_a_run(two_seeds, finished_run):
    runs = results.find_runs([two_seeds])
    ((name, group),) = overview.by_folder(runs).items()
    row = overview.overview(name, [(run, "") for run in group])
    dense = finished_run.summary(finished_run.finished()[0])
    assert row["run"] == str(two_seeds) and row["seeds"] == 2 and row["levels"] == 2
    assert row["dense"] == row["dense_min"] == row["dense_max"] == dense["early_stop_test_accuracy"]
    assert row["dense_early_stop"] == dense["early_stop_iteration"]
    if row["level"] is not None:
        ticket = finished_run.summary(finished_run.finished()[0].__class__(row["level"]))
        assert row["accuracy_max"] == ticket["early_stop_test_accuracy"]
        assert row["density"] == ticket["density"]


ROW = {
    "run": "runs/lenet/default",
    "network": "lenet",
    "dataset": "mnist",
    "control": "",
    "seeds": 3,
    "levels": 21,
    "metric": "accuracy",
    "dense": 0.981,
    "dense_min": 0.98,
    "dense_max": 0.9825,
    "dense_early_stop": 4600.0,
    "level": 7,
    "density": 0.2107,
    "early_stop": 2700.0,
    "accuracy": 0.985,
    "accuracy_min": 0.984,
    "accuracy_max": 0.986,
    "verdict": "better",
}


def test_text_of_a_row():
    assert (
        overview.text([ROW], 120).splitlines()[1].split()
        == (
            "runs/lenet/default 3 21 98.10 (98.00-98.25) 21.07 2,700 / 4,600 "
            "98.50 (98.40-98.60) better"
        ).split()
    )


@pytest.mark.parametrize("width", [40, 60, 80, 100])
def test_rows_fit_the_terminal(width):
    row = {**ROW, "run": "runs/lenet/dataset=digits,eval_interval=20,iterations=60"}
    lines = overview.text([row], width).splitlines()
    assert max(map(len, lines)) <= max(width, 55)
    assert "21.07" in lines[1] and "iterations=60" in lines[1]


def test_list_shows_runs_and_writes_them(monkeypatch, program_here, two_seeds, tmp_path):
    monkeypatch.setenv("COLUMNS", "120")
    folder, file = two_seeds.parents[1], tmp_path / "runs.csv"
    done = program_here("experiments.list", folder, f"--csv={file}")
    assert done.code == 0
    lines = done.out.splitlines()
    assert lines[0].split()[:2] == ["run", "seeds"]
    assert [line.split()[:2] for line in lines[1:]] == [["lenet/default", "2"]]
    (row,) = csv.DictReader(file.read_text().splitlines())
    assert row["run"] == str(two_seeds) and row["seeds"] == "2" and 0 < float(row["dense"]) < 1


def test_compare_has_a_row_for_every_curve(monkeypatch, program_here, two_seeds):
    monkeypatch.setenv("COLUMNS", "120")
    done = program_here("experiments.compare", two_seeds)
    assert done.code == 0
    lines = done.out.splitlines()
    assert [line[:14].strip() for line in lines[1:]] == ["tickets", "random mask", "random reinit"]


def test_a_seed_that_has_not_learned_does_not_count(two_seeds, tmp_path):
    """Neither in the means nor where it lacks the level that wins."""
    folder = shutil.copytree(two_seeds, tmp_path / "default")
    poor = folder / "seed_1"
    for level in (1, 2):
        shutil.rmtree(poor / f"level_0{level}")
    file = poor / "level_00" / "summary.json"
    numbers = json.loads(file.read_text())
    numbers |= {
        f"{name}_accuracy": 0.1 for name in ("early_stop_test", "final_test", "final_train")
    }
    del numbers["bytes"]["correct.npz"]
    file.write_text(json.dumps(numbers))
    (poor / "level_00" / "correct.npz").unlink()
    runs = results.find_runs([folder])
    ((name, group),) = overview.by_folder(runs).items()
    row = overview.overview(name, [(run, "") for run in group])
    alone = overview.overview(name, [(run, "") for run in group if run.config.seed == 0])
    assert row == {**alone, "levels": row["levels"]} and row["seeds"] == 1
    (tickets,) = [o for o in summary.outcomes(runs) if o.what == "winning ticket"]
    assert tickets.seeds == 1 and tickets.dense == (alone["dense"],)
