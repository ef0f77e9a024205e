"""Every analysis in the registry, on a real run; and what is made of several runs."""

import math
import shutil

import numpy as np
import pytest

from lth_tf.analysis import ANALYSES
from lth_tf.analysis.base import ALL, FILES, NETWORK, TRAINING, Analysis, Subject
from lth_tf.analysis.bench import Bench
from lth_tf.analysis.noise import NoiseOnTickets
from lth_tf.analysis.survey import pairs, survey, table_rows
from lth_tf.errors import UsageError
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.bench import bench as bench_of
from lth_tf.tickets.find import find_tickets
from tests.methods import small

KINDS = ANALYSES.items()
# What makes an analysis cheap enough for a test.
QUICK = {
    "noise": {"sigmas": (0.0, 1.0), "points": 3},
    "instability": {"points": 3},
    "barriers": {"points": 3},
    "interpolation": {"points": 3},
    "sharpness": {"lanczos_steps": 2, "hessian_examples": 2},
}


def copy_of(run, path, seed):
    shutil.copytree(run.path, path)
    file = path / "config.json"
    file.write_text(file.read_text().replace('"seed": 0', f'"seed": {seed}'))
    return RunDir(path)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """A run of three levels of a dense layer and an output."""
    run_dir = RunDir(tmp_path_factory.mktemp("runs") / "seed_0")
    config = small.config_of("imp", levels=2)
    with run_dir.writing(config, {"jit": "off", "data": {"classes": 10}}):
        find_tickets(config, small.data(), run_dir, jit="off")
    return run_dir


@pytest.fixture(scope="module")
def runs(run, tmp_path_factory):
    """Two seeds, the second with the results of the first."""
    return run, copy_of(run, tmp_path_factory.mktemp("runs") / "seed_1", 1)


@pytest.fixture(scope="module")
def bench(run):
    return bench_of(run, small.data())


@pytest.fixture(scope="module")
def found(runs, bench):
    """The rows of every analysis; those that need more than files look at few levels."""
    made = {name: kind(**QUICK.get(name, {})) for name, kind in KINDS.items()}

    def needing(needs):
        return {name: analysis for name, analysis in made.items() if analysis.needs == needs}

    return {
        **survey([Subject(run) for run in runs], needing(FILES)),
        **survey([Subject(run, bench=bench, only=(0, 1)) for run in runs], needing(NETWORK)),
        **survey([Subject(runs[0], bench=bench, only=(1,))], needing(TRAINING)),
    }


@pytest.mark.parametrize("name", KINDS)
def test_rows_have_what_table_and_panels_show(name, found):
    kind, rows = KINDS[name], found[name]
    assert rows and kind.title and kind.caption
    fields = {*kind.keys, *kind.columns, "series", "level", "remaining", "seed", "layer"}
    for panel in kind.panels:
        fields |= {panel.y, panel.x, panel.colour, *panel.split, *filter(None, [panel.dashed])}
    for row in rows:
        assert fields <= row.keys() == rows[0].keys()
        assert 0 < row["remaining"] <= 100 and row["level"] in (0, 1, 2)
    numbers = [row[panel.y] for row in rows for panel in kind.panels]
    assert any(math.isfinite(number) for number in numbers)
    assert table_rows(kind(), rows)


@pytest.mark.parametrize("name", KINDS)
def test_has_one_of_the_two_questions_and_says_what_it_is(name):
    kind = KINDS[name]
    asked = [kind.of_level is not Analysis.of_level, kind.of_pair is not Analysis.of_pair]
    assert any(asked) and kind.__doc__ and kind.panels and kind.columns


def test_files_of_a_run_by_hand(run, found):
    masks = run.mask(Stage(2))
    origin, trained = run.origin(), run.trained(Stage(2))
    kept = masks["fc1/kernel"].astype(bool)
    a, b = origin["fc1/kernel"][kept], trained["fc1/kernel"][kept]

    def row(name, layer, **wanted):
        wanted |= {"level": 2, "layer": layer, "seed": 0}
        return next(r for r in found[name] if all(r[k] == v for k, v in wanted.items()))

    same = 100 * np.mean((a > 0) == (b > 0))
    assert row("signs", "fc1/kernel")["same_sign"] == pytest.approx(same)
    assert row("densities", "fc1/kernel")["kept"] == 983 == kept.sum()  # of 1,536
    assert row("densities", "fc1/kernel")["density"] == 100 * 983 / 1536
    moved = np.abs(b.astype(np.float64) - a).mean()
    assert row("movement", "fc1/kernel")["moved_again"] == pytest.approx(moved, rel=1e-5)
    overlap = row("overlap", "fc1/kernel", compared="with the level before")
    # 983 of 1,229, one inside the other.
    assert overlap["overlap"] == pytest.approx(100 * 983 / 1229)
    common = 983 * 1229 / 1536
    assert overlap["chance"] == pytest.approx(100 * common / (983 + 1229 - common))


def test_same_results_of_another_seed_overlap_wholly(found):
    pair = [row for row in found["overlap"] if row["compared"] == "between seeds"]
    assert {row["level"] for row in pair} == {0, 1, 2}
    assert {row["overlap"] for row in pair} == {100.0} and {row["seed"] for row in pair} == {1}
    assert {row["error_barrier"] for row in found["interpolation"]} == {0.0}


def test_a_ticket_trained_again_is_the_recorded_one(run, bench):
    trained, accuracy = bench.train(bench.ticket(1))
    for path, value in run.trained(Stage(1)).items():
        np.testing.assert_array_equal(trained[path], value)
    assert accuracy == run.summary(Stage(1))["final_test_accuracy"]
    other, _ = bench.train(bench.ticket(1), order=5)
    assert (other["fc1/kernel"] != trained["fc1/kernel"]).any()
    loss, error = bench.evaluate(trained)
    last = run.history(Stage(1))
    assert loss == pytest.approx(last["validation_loss"][-1])
    assert error == pytest.approx(1 - last["validation_accuracy"][-1])


def test_no_noise_is_the_ticket_and_much_is_not(run, found):
    rows = found["noise"]
    recorded = 100 * run.summary(Stage(1))["final_test_accuracy"]
    assert [row["sigma"] for row in rows] == [0.0, 0.0, 1.0]
    assert [row["accuracy"] for row in rows[:2]] == [recorded, recorded]
    assert rows[1]["loss_barrier"] == 0.0 and rows[2]["loss_barrier"] > 0.0


def test_levels_before_are_those_that_are_looked_at(run):
    levels = list(Subject(run, only=(0, 2)).levels())
    assert [level.number for level in levels] == [0, 2]
    seen = [level.previous and level.previous.number for level in Subject(run).levels()]
    assert seen == [None, 0, 1]


def test_runs_are_paired_with_the_first(runs):
    first, second = runs
    subjects = [
        Subject(first, "a"),
        Subject(second, "a"),
        Subject(first, "b"),
        Subject(second, "b"),
    ]
    named = [(one.series, one.seed, other.series, other.seed) for one, other in pairs(subjects)]
    assert named == [
        ("a", 0, "a", 1),
        ("b", 0, "b", 1),
        ("a", 0, "b", 0),
        ("a", 1, "b", 1),
    ]


def test_damaged_weights_are_one_line_and_the_rest_is_analysed(run, tmp_path):
    broken = copy_of(run, tmp_path / "seed_1", 1)
    file = broken.path / "level_01" / "weights.npz"
    file.write_bytes(file.read_bytes()[:200])
    chosen = {name: ANALYSES.get(name)() for name in ("signs", "densities")}
    left_out = []
    found = survey([Subject(broken), Subject(run)], chosen, left_out)
    (line,) = left_out
    assert str(file) in line and "\n" not in line
    assert {(row["seed"], row["level"]) for row in found["signs"]} == {
        (1, 0),
        (1, 2),
        (0, 0),
        (0, 1),
        (0, 2),
    }
    assert {row["level"] for row in found["densities"] if row["seed"] == 1} == {0, 1, 2}
    with pytest.raises(UsageError, match="level_01/weights.npz"):
        survey([Subject(broken)], chosen)


def test_weights_of_another_network_are_one_line(run, tmp_path):
    other = copy_of(run, tmp_path / "seed_1", 1)
    other.save_origin({"dense/kernel": np.zeros((3, 3), np.float32)})
    left_out = []
    found = survey([Subject(other)], {"signs": ANALYSES.get("signs")()}, left_out)
    assert found == {"signs": []} and "Expected a run of this version" in left_out[0]


def test_network_is_asked_for_only_where_it_is_needed(run):
    with pytest.raises(UsageError, match="of which there are files only"):
        survey([Subject(run)], {"sharpness": ANALYSES.get("sharpness")()})


def test_methods_that_train_masks_are_not_trained_again(run):
    config = run.config().replace(method="rigl")
    bench = Bench(lambda: None, small.data(), config, lambda level: None)
    with pytest.raises(UsageError, match="takes part in every update"):
        bench.train(None)


def test_other_data_are_refused(run, tmp_path):
    other = copy_of(run, tmp_path / "seed_0", 0)
    file = other.path / "config.json"
    file.write_text(file.read_text().replace('"classes": 10', '"classes": 10, "checksum": "0"'))
    with pytest.raises(UsageError, match="other examples"):
        bench_of(other, small.data())


def test_table_is_the_mean_over_seeds_of_all_layers():
    rows = [
        {"series": "a", "level": 1, "remaining": 50.0, "sigma": s, "layer": layer, **values}
        for s, layer, values in (
            (1.0, ALL, {"accuracy": 90.0, "error_barrier": math.nan}),
            (1.0, ALL, {"accuracy": 80.0, "error_barrier": 3.0}),
            (2.0, ALL, {"accuracy": 70.0, "error_barrier": math.nan}),
            (2.0, "fc", {"accuracy": 0.0, "error_barrier": 0.0}),
        )
    ]
    first, second = table_rows(NoiseOnTickets(), rows)
    assert first["accuracy"] == 85.0 and first["error_barrier"] == 3.0
    assert second["accuracy"] == 70.0 and math.isnan(second["error_barrier"])
