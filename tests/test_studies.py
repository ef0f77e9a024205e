"""What studies make of the runs they train; the programs themselves are slow."""

import csv
import re

import pytest

from experiments.studies import methods, study
from lth_tf.cli import lth
from lth_tf.config import ExperimentConfig
from lth_tf.runs.stage import Stage

STUDIES = (
    "channels",
    "methods",
    "sanity",
    "signs",
    "stability",
    "supermasks",
    "transfer",
    "warmup",
)


class Trained:
    """Stages of a run and how long each was trained."""

    def __init__(self, config, stages):
        self._config, self._stages = config, stages

    def config(self):
        return self._config

    def finished(self):
        return [Stage.parse(name) for name in self._stages]

    def summary(self, stage):
        return {
            "iterations": self._stages[str(stage)],
            "density": 0.8,
            "early_stop_iteration": 50,
            "early_stop_test_accuracy": 0.9,
            "final_test_accuracy": 0.9,
            "seconds": 1.0,
        }


def cost_of(method, level, stages, **changes):
    config = ExperimentConfig(iterations=100, method=method).replace(**changes)
    return methods.cost(Trained(config, stages), level)


def test_cost_in_units_of_one_training():
    levels = {f"level_{n:02d}": 100 for n in range(4)}
    assert cost_of("imp", 3, levels | {"level_03/reinit_0": 100}) == 4
    assert cost_of("oneshot", 3, levels) == 2
    forks = {"level_00/fork_0": 100, "level_00/fork_100": 100}
    assert cost_of("late_rewinding", 1, levels | forks) == 4
    two = {"final_density": (0.5, 0.2)}
    assert cost_of("at_init", 2, levels, **two) == 1
    searches = {"level_01/search": 30, "level_02/search": 50}
    assert cost_of("early_bird", 2, levels | searches, **two) == 1.5
    assert cost_of("continuous_sparsification", 2, levels | searches, **two) == 1.8


def test_rows_are_of_the_controls_that_the_study_asks_for():
    names = ("level_00", "level_01", "level_01/reinit_0", "level_01/random_0", "level_01/reinit_1")
    run_dir = Trained(ExperimentConfig(iterations=100), dict.fromkeys(names, 100))
    asked = ExperimentConfig(iterations=100).replace(reinits=1)
    for config, expected in (
        (asked, ["IMP", "IMP", "random reinit"]),
        (run_dir.config(), ["IMP"] * 2),
    ):
        variant = methods.Variant("IMP", methods.ITERATIVE, config, (1,))
        rows = list(methods.rows_of(variant, run_dir, (80.0,)))
        assert [row["variant"] for row in rows] == expected
        assert [row["control"] for row in rows] == ["", "", "reinit_0"][: len(rows)]


def test_means_over_seeds():
    rows = [
        {"variant": name, "early_stop_accuracy": value}
        for name, value in (("a", 90.0), ("b", 50.0), ("a", 92.0))
    ]
    assert study.means(rows, ["variant"]) == [
        {"variant": "a", "mean": 91.0, "low": 90.0, "high": 92.0, "trainings": 2},
        {"variant": "b", "mean": 50.0, "low": 50.0, "high": 50.0, "trainings": 1},
    ]


def test_every_study_is_a_program():
    known = {name.removeprefix("studies."): one for name, one in lth.programs().items()}
    assert set(STUDIES) <= set(known)
    assert all(known[name].summary.rstrip(".").count("?") == 1 for name in STUDIES)


@pytest.mark.slow
@pytest.mark.parametrize("name", STUDIES)
def test_every_study_runs(program, tmp_path, name):
    flags = ["--iterations=40", "--eval_interval=20", "--replicates=2", "--runs_dir=runs"]
    flags += ["--validation_size=100"]
    if name != "transfer":
        flags.append("--dataset=digits")
    done = program(f"experiments.studies.{name}", *flags)
    assert done.code == 0, done.err
    with open(tmp_path / f"runs/studies/{name}.csv") as file:
        rows = list(csv.DictReader(file))
    assert {row["seed"] for row in rows} == {"0", "1"}
    assert (tmp_path / f"runs/studies/{name}.png").read_bytes().startswith(b"\x89PNG")
    assert re.search(rf"Numbers and figure: .*{name}\.csv", done.out)
