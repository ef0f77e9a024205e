"""The program that makes analyses, on a finished run."""

import csv
import shutil

import pytest

from experiments import analyze, report
from lth_tf.errors import UsageError
from lth_tf.runs.stage import Stage


@pytest.fixture(scope="module")
def two_seeds(finished_run, tmp_path_factory):
    """A folder of two seeds; the second has lost the weights of level 1."""
    folder = tmp_path_factory.mktemp("runs") / "lenet" / "default"
    for seed in (0, 1):
        shutil.copytree(finished_run.path, folder / f"seed_{seed}")
    file = folder / "seed_1" / "config.json"
    file.write_text(file.read_text().replace('"seed": 0', '"seed": 1'))
    (folder / "seed_1" / "level_01" / "weights.npz").unlink()
    return folder


def test_tables_pictures_numbers_and_a_page(monkeypatch, program_here, two_seeds, tmp_path):
    monkeypatch.setenv("COLUMNS", "120")
    flags = ["--analyses=signs,overlap", f"--output_dir={tmp_path}"]
    printed = program_here("experiments.analyze", two_seeds, *flags)
    assert printed.code == 0
    files = ["analysis.html", "signs.png", "overlap.png", "signs.csv", "overlap.csv"]
    assert printed.out.splitlines()[-5:] == [str(tmp_path / name) for name in files]
    assert (tmp_path / "signs.png").read_bytes().startswith(b"\x89PNG")
    page = (tmp_path / "analysis.html").read_text()
    assert "How many weights keep the sign they start with" in page and "data-chart" in page
    rows = list(csv.DictReader((tmp_path / "signs.csv").read_text().splitlines()))
    # Two seeds, three levels but the one without weights, three layers and all of them.
    assert len(rows) == 5 * 4
    assert {(row["seed"], row["level"]) for row in rows} == {
        ("0", "0"),
        ("0", "1"),
        ("0", "2"),
        ("1", "0"),
        ("1", "2"),
    }
    title, head, *lines = printed.out.split("\n\n")[1].splitlines()
    assert title == "Whether two masks keep the same weights"
    assert head.split()[:4] == ["compared", "series", "level", "%"]
    # Of three sizes the nearest to those that reports show: 100 and 64 %.
    assert [line.split("  ")[0] for line in lines] == [
        "with the level before",
        "between seeds",
        "between seeds",
    ]
    (line,) = printed.err.splitlines()
    assert line.startswith("Left out. ") and "level_01/weights.npz" in line


def test_levels_and_options_of_analyses(program_here, two_seeds, tmp_path):
    flags = ["--analyses=initial_weights", "--levels=1", "--bins=4", f"--output_dir={tmp_path}"]
    done = program_here("experiments.analyze", two_seeds, *flags)
    rows = list(csv.DictReader((tmp_path / "initial_weights.csv").read_text().splitlines()))
    assert done.code == 0 and {row["level"] for row in rows} == {"1"}
    assert [row["value"] for row in rows[:4]] == ["-2.25", "-0.75", "0.75", "2.25"]
    assert sum(float(row["share"]) for row in rows[:4]) == pytest.approx(100)


def test_network_and_data_of_the_run_are_found(two_seeds, tmp_path, capsys):
    """The digits are in scikit-learn; what a run says of its data is enough to load them."""
    run = shutil.copytree(two_seeds / "seed_0", tmp_path / "lenet" / "default" / "seed_0")
    file = run / "config.json"
    old = '"classes": 10'
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, f'{old}, "image_shape": [28, 28, 1]'))
    options = analyze.AnalyzeOptions(analyses="barriers", levels=(1, 2)).replace(points=3)
    files = analyze.analyze([str(run)], options)
    assert [file.name for file in files] == ["analysis.html", "barriers.png", "barriers.csv"]
    rows = list(csv.DictReader(files[-1].read_text().splitlines()))
    assert [(row["level"], row["way"]) for row in rows] == [("2", w) for w in ("0.0", "0.5", "1.0")]
    assert "error barrier (points)" in capsys.readouterr().out


def test_data_that_are_not_known_are_one_line(monkeypatch, program_here, two_seeds):
    monkeypatch.setenv("COLUMNS", "120")
    printed = program_here("experiments.analyze", two_seeds / "seed_0", "--analyses=sharpness")
    assert printed.code == 2 and "nothing to analyse" in printed.err.splitlines()[-1]
    assert "image_shape" in printed.err.splitlines()[0]


def test_unknown_analyses_and_flags_of_others(program_here, two_seeds):
    done = program_here("experiments.analyze", two_seeds, "--analyses=sing")
    assert done.code == 2 and "Expected an analysis out of barriers, connectivity" in done.err
    with pytest.raises(UsageError, match="with a finished level"):
        analyze.analyze([str(two_seeds / "nothing")])


def test_without_names_all_but_trainings_are_made():
    chosen = analyze.AnalyzeOptions().chosen()
    assert {"signs", "sharpness", "barriers"} <= chosen.keys()
    assert not {"noise", "instability"} & chosen.keys()


def test_reports_end_with_analyses_of_files(finished_run, two_seeds, capsys):
    drawn = list(report.drawn(finished_run.path))
    assert drawn[:3] == ["tickets", "curves", "iterations"]
    assert {"signs", "movement", "connectivity"} <= set(drawn) and "sharpness" not in drawn
    options = report.ReportOptions(analyses=False)
    assert list(report.drawn(finished_run.path, options=options)) == drawn[:3]
    assert finished_run.has(Stage(1))
