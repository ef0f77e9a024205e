"""Which stage is trained next, and what becomes of those that fail; machines obey a script."""

import pytest

from experiments import cli
from experiments.sweep import driver, view
from experiments.sweep.run import Run, Wanted
from experiments.sweep.work import Failed, News, Plan
from lth_tf.config import ExperimentConfig, RunOptions
from lth_tf.errors import RunError, UsageError
from lth_tf.runs import parcel
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from tests.runs.test_run_dir import HISTORY, MASKS, WEIGHTS

CONFIG = ExperimentConfig(dataset="digits", levels=1)
L0, L1 = Stage(0), Stage(1)
R0, R1 = Stage(0, "reinit_0"), Stage(1, "reinit_0")
NEEDS = {L0: [], R0: [L0], L1: [L0], R1: [L1, L0]}


class Machines:
    """Trains nothing; each task ends after those that were begun before it."""

    def __init__(self, folder, places, fails=lambda name: None):
        self.folder, self.count, self.fails = folder, places, fails
        self.begun, self.sent, self.outcomes, self.heard = [], {}, {}, {}

    def places(self):
        return self.count

    def plan(self, work):
        self.begun.append(f"{work.path[-1]} plan")
        task = len(self.begun)
        plan = Plan(1, NEEDS, {"data": {"checksum": work.path[-1]}}, "")
        self.outcomes[task] = self.fails(self.begun[-1]) or plan
        return task, f"data {work.path[-1]}"

    def train(self, work, stage, sent, data):
        assert data == f"data {work.path[-1]}" and work.data == {"checksum": work.path[-1]}
        self.begun.append(f"{work.path[-1]} {stage}")
        task = len(self.begun)
        self.sent[self.begun[-1]] = sent
        self.outcomes[task] = self.fails(self.begun[-1]) or self._trained(stage)
        return task

    def _trained(self, stage):
        run_dir = RunDir(self.folder / "machine")
        run_dir.path.mkdir(exist_ok=True)
        run_dir.save_origin(WEIGHTS)
        run_dir.forget_metrics(stage, -1)
        run_dir.append_metrics(stage, {"iteration": 2})
        run_dir.save_stage(stage, MASKS, WEIGHTS, HISTORY)
        return parcel.of_finished(run_dir, stage)

    def ended(self, tasks, seconds):
        return [min(tasks)]

    def result(self, task):
        if isinstance(self.outcomes[task], Exception):
            raise self.outcomes[task]
        return self.outcomes[task]

    def news(self):
        heard, self.heard = self.heard, {}
        return heard


@pytest.fixture
def sweep(tmp_path):
    def run(places=1, fails=lambda name: None, seeds=2, groups=(0, 0), retries=1):
        machines = Machines(tmp_path, places, fails)
        options = RunOptions(runs_dir=str(tmp_path))
        experiment = cli.Experiment(CONFIG, "", {}, "lenet")
        runs = [
            Run(Wanted(experiment, CONFIG.replace(seed=k), options, f"seed_{k}", groups[k]), 1)
            for k in range(seeds)
        ]
        shown = view.View([run.wanted.label for run in runs])
        driver.Driver(runs, machines, retries, shown).run()
        for each in runs:
            each.close()
        return machines, runs

    return run


def test_on_one_place_tickets_come_first_then_controls(sweep, capsys):
    machines, runs = sweep()
    assert machines.begun == [
        *["0 plan", "0 level_00", "0 level_01", "1 plan", "1 level_00", "1 level_01"],
        *["0 level_00/reinit_0", "0 level_01/reinit_0", "1 level_00/reinit_0"],
        "1 level_01/reinit_0",
    ]
    assert all(run.is_complete for run in runs)
    driver.check(runs)
    rows = [line.split() for line in capsys.readouterr().out.splitlines()]
    assert rows[0][:2] == ["run", "level"]
    assert rows[1][:3] == ["seed_0", "0", "50.00"]
    assert len(rows) == 9


def test_controls_are_trained_beside_the_next_level_and_groups_in_turn(sweep):
    machines, _ = sweep(places=2, groups=(1, 0))
    assert machines.begun == [
        *["1 plan", "0 plan", "1 level_00", "0 level_00", "1 level_01", "1 level_00/reinit_0"],
        *["1 level_01/reinit_0", "0 level_01", "0 level_00/reinit_0", "0 level_01/reinit_0"],
    ]


def test_a_stage_is_sent_what_it_is_made_from_and_lines_stand_in_order(sweep):
    machines, runs = sweep(seeds=1, places=2)
    assert machines.sent["0 level_00"].files == {}
    names = [f"level_00/{name}.npz" for name in ("mask", "weights", "history")]
    expected = ["origin.npz", *names, "level_00/summary.json"]
    assert list(machines.sent["0 level_01"].files) == expected
    of_control = list(machines.sent["0 level_01/reinit_0"].files)
    assert of_control == [
        "origin.npz",
        *(n.replace("00", "01") for n in expected[1:]),
        *expected[1:],
    ]
    run_dir = RunDir(runs[0].wanted.path)
    assert run_dir.finished() == [L0, R0, L1, R1]
    lines = [(line["level"], line["control"]) for line in run_dir.metrics()]
    assert lines == [(0, ""), (0, "reinit_0"), (1, ""), (1, "reinit_0")]


def test_what_is_there_is_not_trained_again(sweep):
    sweep(seeds=1)
    machines, runs = sweep(seeds=1)
    assert machines.begun == ["0 plan"] and runs[0].is_complete


def test_a_lost_machine_is_survived_from_the_last_checkpoint(sweep, capsys):
    lost = []

    def fails(name):
        if name != "0 level_01" or lost:
            return None
        lost.append(name)
        return RunError("its machine is gone")

    def plan(machines_plan):
        def planned(self, work):
            run_dir = RunDir(self.folder / "checkpoint")
            run_dir.path.mkdir(exist_ok=True)
            run_dir.append_metrics(L1, {"iteration": 400})
            run_dir.save_progress(L1, {"weight": [1.0]})
            self.checkpoint = parcel.of_checkpoint(run_dir, L1)
            self.heard = {}
            self.path = work.path
            return machines_plan(self, work)

        return planned

    def ended(self, tasks, seconds):
        if self.begun[-1] == "0 level_01" and "0 level_01" not in self.begun[:-1]:
            self.heard = {f"{self.path}/level_01": News(500, self.checkpoint)}
        return [min(tasks)]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Machines, "plan", plan(Machines.plan))
        patch.setattr(Machines, "ended", ended)
        machines, runs = sweep(seeds=1, fails=fails)
    assert machines.begun.count("0 level_01") == 2
    sent = machines.sent["0 level_01"]  # the second time
    assert sent.files["progress/level_01.npz"] == machines.checkpoint.files["progress/level_01.npz"]
    assert sent.metrics == [{"level": 1, "control": "", "iteration": 400}]
    assert capsys.readouterr().err.splitlines() == [
        "seed_0 level_01: its machine is gone; it is tried again from iteration 400."
    ]
    assert runs[0].is_complete
    assert not (runs[0].wanted.path / "progress").exists()
    assert [line["iteration"] for line in RunDir(runs[0].wanted.path).metrics()] == [2, 2, 2, 2]


def test_what_fails_too_often_is_named_and_the_others_go_on(sweep, capsys):
    def fails(name):
        return RunError("its process is gone") if name == "0 level_01" else None

    machines, runs = sweep(fails=fails)
    assert machines.begun.count("0 level_01") == 2
    assert "0 level_00/reinit_0" in machines.begun and "0 level_01/reinit_0" not in machines.begun
    assert runs[1].is_complete
    assert capsys.readouterr().err.splitlines() == [
        "seed_0 level_01: its process is gone; it is tried again from iteration 0.",
        "seed_0 level_01 failed: its process is gone (2 times)",
    ]
    with pytest.raises(RunError, match="2 trainings are missing: seed_0 level_01 failed"):
        driver.check(runs)


def test_what_would_fail_again_is_not_tried_again(sweep):
    machines, runs = sweep(
        seeds=1, fails=lambda name: Failed("The loss is nan") if "level" in name else None
    )
    assert machines.begun == ["0 plan", "0 level_00"]
    assert runs[0].failed == {L0: "The loss is nan"}


def test_a_mistake_in_what_was_asked_for_is_one(sweep):
    machines, runs = sweep(fails=lambda name: Failed("Expected a data set."))
    assert machines.begun == ["0 plan", "1 plan"]
    with pytest.raises(UsageError, match="Expected a data set"):
        driver.check(runs)
