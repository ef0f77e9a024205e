import csv
import json
import shutil

import pytest

from experiments import results, summary
from experiments.figures import Numbers, figures
from experiments.figures.marks import against_size
from experiments.report import ReportOptions, report
from lth_tf.errors import UsageError


@pytest.fixture(scope="module")
def files(finished_run, tmp_path_factory):
    output = tmp_path_factory.mktemp("report")
    written = report([str(finished_run.path)], ReportOptions(output_dir=str(output)))
    return {path.name: path for path in written}


def test_files(files):
    names = list(files)
    # A figure that is registered after these is drawn too.
    assert names[:4] == ["report.html", "tickets.png", "curves.png", "iterations.png"]
    assert all(name.endswith(".png") for name in names[4:-2])
    assert names[-2:] == ["levels.csv", "curves.csv"]
    for name in ("tickets.png", "curves.png", "iterations.png"):
        content = files[name].read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 20_000


def test_csv_holds_the_numbers_of_the_run(files, finished_run):
    rows = list(csv.DictReader(files["levels.csv"].read_text().splitlines()))
    assert len(rows) == 9
    assert [row["remaining"] for row in rows[::3]] == ["100.0", "80.04", "64.06"]
    assert {row["series"] for row in rows} == {
        "tickets",
        "random reinit",
        "random mask",
    }
    stages = finished_run.finished()
    for row, stage in zip(rows, stages, strict=True):
        expected = 100 * finished_run.summary(stage)["early_stop_test_accuracy"]
        assert float(row["early_stop_accuracy"]) == pytest.approx(expected, abs=1e-3)
    curves = list(csv.DictReader(files["curves.csv"].read_text().splitlines()))
    assert {row["iteration"] for row in curves} == {"0", "20", "40", "60"}


def test_page_needs_no_network(files):
    text = files["report.html"].read_text()
    assert '<meta name="viewport"' in text
    assert "<script src" not in text and '<link rel="stylesheet"' not in text
    assert "@import" not in text.split("<script")[0]


def test_runs_of_several_configurations_are_told_apart(finished_run, tmp_path):
    for folder, change in (("a", {}), ("b", {"strategy": "oneshot"}), ("c", {"dropout_rate": 0.5})):
        copy = tmp_path / "lenet" / folder / "seed_0"
        shutil.copytree(finished_run.path, copy)
        config = json.loads((copy / "config.json").read_text())
        config["config"] |= change
        (copy / "config.json").write_text(json.dumps(config))
    rows = results.level_rows(results.find_runs([tmp_path]))
    assert {row["series"] for row in rows if not row["control"]} == {
        "iterative, dropout rate 0",
        "one-shot, dropout rate 0",
        "iterative, dropout rate 0.5",
    }


def test_runs_on_other_data_are_another_curve(finished_run, tmp_path):
    for folder, dataset in (("a", "digits"), ("b", "mnist")):
        copy = tmp_path / "lenet" / folder / "seed_0"
        shutil.copytree(finished_run.path, copy)
        config = json.loads((copy / "config.json").read_text())
        config["config"]["dataset"] = dataset
        (copy / "config.json").write_text(json.dumps(config))
    series = {run.series("") for run in results.find_runs([tmp_path])}
    assert series == {"dataset digits", "dataset mnist"}


def test_the_same_run_named_twice_counts_once(finished_run):
    runs = results.find_runs([finished_run.path, finished_run.path.parent])
    assert len(runs) == 1


def test_folder_without_a_run(tmp_path):
    with pytest.raises(
        UsageError, match="with a finished level. Received: .*, where there is none"
    ):
        results.find_runs([tmp_path])


def test_output_that_cannot_be_written(finished_run, tmp_path):
    (tmp_path / "file").write_text("")
    options = ReportOptions(output_dir=str(tmp_path / "file" / "figures"), analyses=False)
    with pytest.raises(UsageError, match="Expected a folder that can be written to"):
        report([str(finished_run.path)], options)


def test_names_say_in_words_what_differs_and_matters(finished_run, tmp_path):
    changes = {
        "a": {},
        "b": {"learning_rate": 0.1, "lr_drops": [20_000, 25_000]},
        "c": {"learning_rate": 0.1, "lr_drops": [20_000, 25_000], "augment": True},
        # Measures oftener, and is another seed: no other curve.
        "d": {"eval_interval": 10, "test_interval": 10, "seed": 1},
    }
    for folder, change in changes.items():
        copy_with(finished_run, tmp_path / "lenet" / folder / "seed_0", change)
    series = {run.directory.path.parent.name: run for run in results.find_runs([tmp_path])}
    drops = "learning-rate drops at 20,000 and 25,000"
    assert {name: run.series("") for name, run in series.items()} == {
        "a": "learning rate 0.0012, no learning-rate drops, no augment",
        "b": f"learning rate 0.1, {drops}, no augment",
        "c": f"learning rate 0.1, {drops}, augment",
        "d": "learning rate 0.0012, no learning-rate drops, no augment",
    }


def test_runs_of_a_seed_that_only_measure_at_other_iterations_are_told_apart(
    finished_run, tmp_path
):
    copy_with(finished_run, tmp_path / "lenet" / "a" / "seed_0", {})
    copy_with(finished_run, tmp_path / "lenet" / "b" / "seed_0", {"test_interval": 40})
    series = [run.series("reinit_0") for run in results.find_runs([tmp_path])]
    assert series == ["test interval 20, random reinit", "test interval 40, random reinit"]


def copy_with(run, folder, change):
    """Copies a run and changes its config."""
    shutil.copytree(run.path, folder)
    record = json.loads((folder / "config.json").read_text())
    record["config"] |= change
    (folder / "config.json").write_text(json.dumps(record))


def test_tiny_densities_keep_their_digits(finished_run, tmp_path):
    copy = tmp_path / "lenet" / "default" / "seed_0"
    shutil.copytree(finished_run.path, copy)
    for level, density in ((1, 0.000_051_234), (2, 0.000_000_7)):
        file = copy / f"level_{level:02d}" / "summary.json"
        file.write_text(json.dumps({**json.loads(file.read_text()), "density": density}))
    rows = results.level_rows(results.find_runs([copy]))
    assert [row["remaining"] for row in rows if not row["control"]] == [100.0, 0.005123, 0.00007]
    chart = against_size(rows, "final_accuracy", "Accuracy", "series").to_dict()
    (x,) = {json.dumps(layer["encoding"]["x"]["axis"]) for layer in chart["layer"][1]["layer"]}
    assert json.loads(x)["values"] == [100, 10, 1, 0.1, 0.01, 0.001, 0.0001]


def test_axes_say_what_was_judged_on(finished_run):
    rows = results.level_rows(results.find_runs([finished_run.path]))
    validated = [{**row, "judged_on": "validation data"} for row in rows]
    drawn = {f.name: f.charts for f in figures(Numbers(validated, [], [100.0], [60]))}
    assert [chart.to_dict()["title"] for chart in drawn["tickets"]] == [
        "Early-stop iteration",
        "Validation accuracy at early stop (%)",
        "Validation accuracy at the last iteration (%)",
        "Training accuracy at the last iteration (%)",
    ]
    assert not {"curves", "iterations"} & drawn.keys()  # nothing to draw them from


def test_best_is_fewest_of_iterations_and_most_of_accuracies(finished_run):
    rows = results.level_rows(results.find_runs([finished_run.path]))
    tickets = [row for row in rows if not row["control"]]
    second = [
        {**row, "early_stop_iteration": 7, "final_accuracy": 101.0, "seed": 1} for row in tickets
    ]
    for field, best in (("early_stop_iteration", 7), ("final_accuracy", 101.0)):
        chart = against_size(tickets + second, field, "", "series").to_dict()
        points = chart["datasets"].values() if "datasets" in chart else all_values(chart)
        found = [point for point in points if "best" in point]
        assert {point["best"] for point in found} == {best}
        assert all(point["worst"] != best for point in found)


def all_values(spec):
    found = spec.get("data", {}).get("values", [])
    return found + [value for layer in spec.get("layer", []) for value in all_values(layer)]


def test_summary_says_why_there_is_nothing_to_compare_with(finished_run, tmp_path):
    copy = tmp_path / "lenet" / "default" / "seed_0"
    shutil.copytree(finished_run.path, copy)
    file = copy / "level_00" / "summary.json"
    file.write_text(json.dumps({**json.loads(file.read_text()), "early_stop_iteration": 0}))
    (first, *_) = summary.outcomes(results.find_runs([copy]))
    assert summary.cells(first)[-1] == (
        "nothing to compare with: the dense network's validation loss was never below that "
        "before training"
    )


def test_summary_of_a_run(finished_run):
    names = [outcome.series for outcome in summary.outcomes(results.find_runs([finished_run.path]))]
    assert names == ["tickets", "random mask", "random reinit"]
