import dataclasses
import shutil

import keras_tuner
import numpy as np
import pytest
from tensorflow.python.framework import ops

from experiments import lenet, results
from export import ticket
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.arrays import density
from lth_tf.masking.model import get_masks
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tuning import TicketTuner, TuningListener
from lth_tf.tuning.objective import judge
from lth_tf.tuning.oracles import saved_trials

# KerasTuner 1.4.8 calls threading.currentThread().getName().
pytestmark = [
    pytest.mark.filterwarnings("ignore:currentThread:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore:getName:DeprecationWarning"),
]


def gradients():
    """Returns the functions that TensorFlow keeps the gradients, and so the memory, of."""
    return set(ops.gradient_registry.list())


class Log(TuningListener):
    """Remembers which trainings were started, and the levels that were trained."""

    def __init__(self):
        self.started, self.trained = [], []

    def training_started(self, trial, config):
        self.started.append(trial)

    def stage_started(self, stage, density, iteration):
        self.trained.append((self.started[-1], stage.level))


@pytest.fixture(scope="module")
def config():
    return dataclasses.replace(
        lenet.CONFIG, dataset="digits", iterations=60, eval_interval=20, test_interval=0, levels=2
    )


@pytest.fixture(scope="module")
def searched(config, digits, tmp_path_factory):
    """A finished search of three trials: its tuner and its log. Not to be written to."""
    log = Log()
    folder = tmp_path_factory.mktemp("runs") / "tune_lenet"
    arguments = {"algorithm": "random", "tolerance": 0.02, "max_trials": 3, "jit": "off"}
    arguments["listener"] = log
    tuner = TicketTuner(config, digits, directory=folder, project_name="default", **arguments)
    tuner.search()
    return tuner, log, arguments


@pytest.fixture
def copied(searched, tmp_path):
    """The folder of a copy of the finished search."""
    shutil.copytree(searched[0].project.path, tmp_path / "tune_lenet" / "default")
    return {**searched[2], "directory": tmp_path / "tune_lenet", "project_name": "default"}


def test_search_trains_the_reference_once_and_the_trials_after_it(searched, config):
    tuner, log, _ = searched
    assert log.started == [None, 0, 1, 2]
    assert log.trained[:4] == [(None, 0), (0, 0), (0, 1), (0, 2)]
    assert tuner.project.dense.finished() == [Stage(0)]
    assert tuner.project.dense.config() == dataclasses.replace(config, levels=0)
    # The first trial has the config's values, and so the same dense network.
    first = tuner.project.trial("0")
    assert first.config() == config
    for path, value in first.trained(Stage(0)).items():
        np.testing.assert_array_equal(value, tuner.project.dense.trained(Stage(0))[path])


def test_results_are_those_of_the_run_directories(searched):
    tuner, _, _ = searched
    found = tuner.results()
    assert sorted(result.trial for result in found) == [0, 1, 2]
    objectives = [result.outcome.objective for result in found]
    assert objectives == sorted(objectives)
    reference = tuner.reference()["early_stop_validation_accuracy"]
    for result in found:
        run_dir = RunDir(result.path)
        values = run_dir.config().as_dict()
        assert {name: values[name] for name in result.values} == result.values
        summaries = [run_dir.summary(stage) for stage in run_dir.finished()]
        assert judge(summaries, reference, 0.02) == result.outcome
    saved = {int(t.trial_id): t.score for t in saved_trials(tuner.project.oracle_file)}
    assert saved == {result.trial: result.outcome.objective for result in found}
    values = [tuple(result.values.values()) for result in found]
    assert len(set(values)) == 3


def test_trial_gives_its_memory_back(config, digits, copied):
    before = gradients()
    during = []

    class Listener(TuningListener):
        def stage_finished(self, stage, summary):
            during.append(gradients() - before)

    arguments = {**copied, "max_trials": 4, "listener": Listener()}
    TicketTuner(config, digits, **arguments).search()
    assert during[-1]
    assert gradients() == before


def test_report_and_export_take_the_trials(searched):
    tuner, _, _ = searched
    runs = results.find_runs([tuner.project.path])
    assert [run.directory.path.name for run in runs] == [
        "dense",
        "trial_000",
        "trial_001",
        "trial_002",
    ]
    assert {run.experiment for run in runs} == {"tune_lenet"}
    loaded = ticket.load(tuner.project.trial("1").path, level=2)
    assert "lenet on digits, level 2" in loaded.title


def test_best_model_is_the_network_that_decided(searched):
    tuner, _, _ = searched
    (model,) = tuner.get_best_models()
    assert density(get_masks(model)) == tuner.results()[0].outcome.density


def test_finished_search_trains_nothing_and_more_trials_go_on(searched, config, digits, copied):
    before = searched[0].results()
    log = copied["listener"] = Log()
    TicketTuner(config, digits, **copied).search()
    assert log.started == []
    tuner = TicketTuner(config, digits, **{**copied, "max_trials": 4})
    tuner.search()
    assert log.started == [3]
    after = {result.trial: result for result in tuner.results()}
    assert sorted(after) == [0, 1, 2, 3]
    for result in before:
        assert after[result.trial].outcome == result.outcome


def test_trial_that_diverges_is_the_worst_and_no_failure(config, digits, tmp_path):
    space = keras_tuner.HyperParameters()
    space.Float("learning_rate", 1e29, 1e30, default=1e30)
    config = dataclasses.replace(config, optimizer="sgd", learning_rate=0.1)
    tuner = TicketTuner(config, digits, directory=tmp_path, searched=space, max_trials=1, jit="off")
    tuner.search()
    (result,) = tuner.results()
    reference = tuner.reference()["early_stop_validation_accuracy"]
    assert result.outcome.objective == pytest.approx(1 + reference - 0.005)
    assert (result.outcome.level, result.levels) == (None, 0)
    with pytest.raises(UsageError, match="trial 0, which diverged"):
        tuner.get_best_models()


def test_trial_out_of_patience_ends(config, digits, tmp_path):
    config = dataclasses.replace(config, levels=4, prune_rate_fc=0.9)
    log = Log()
    arguments = {"max_trials": 1, "tolerance": 0.0, "patience": 1, "jit": "off", "listener": log}
    tuner = TicketTuner(config, digits, directory=tmp_path, **arguments)
    tuner.search()
    (result,) = tuner.results()
    assert result.levels < 5
    assert len(log.trained) == 1 + result.levels
    summaries = [RunDir(result.path).summary(Stage(n)) for n in range(result.levels)]
    accuracies = [summary["early_stop_validation_accuracy"] for summary in summaries]
    assert accuracies[-1] < accuracies[0] == max(accuracies)


def test_trial_has_as_many_levels_as_its_rates_leave_weights_for(config, digits, tmp_path):
    config = dataclasses.replace(config, levels=12)
    tuner = TicketTuner(config, digits, directory=tmp_path)
    # Of the 1,000 output weights 100, 10 and 1 are left, and then none.
    assert tuner.trial_config({"prune_rate_output": 0.9}).levels == 3
    assert tuner.trial_config({"prune_rate_output": 0.1}).levels == 12


def test_failure_that_is_not_the_trials_own_ends_the_search(config, digits, copied):
    log = copied["listener"] = Log()
    copied["max_trials"] = 4
    tuner = TicketTuner(config, digits, **copied)
    in_the_way = tuner.project.path / "trial_003"
    in_the_way.write_text("")
    with pytest.raises(UsageError, match="can be written to. Received: .*trial_003"):
        tuner.search()
    assert len(tuner.results()) == 3
    wanted = saved_trials(tuner.project.oracle_file)[3].hyperparameters.values

    in_the_way.unlink()
    tuner = TicketTuner(config, digits, **copied)
    tuner.search()
    assert log.started == [3, 3]
    (again,) = (result for result in tuner.results() if result.trial == 3)
    assert again.values == wanted


def test_full_disk_ends_the_search(config, digits, copied, monkeypatch):
    def full(*arguments):
        raise RunError("Could not write") from OSError(28, "No space left on device")

    monkeypatch.setattr(RunDir, "save_stage", full)
    tuner = TicketTuner(config, digits, **{**copied, "max_trials": 4})
    with pytest.raises(RunError, match="Could not write"):
        tuner.search()
    assert len(tuner.results()) == 3


@pytest.mark.parametrize(
    "change, message",
    [
        ({"tolerance": 0.01}, "the file has tolerance=0.02, not 0.01. Use another folder"),
        ({"config": {"batch_size": 61}}, "the file has batch_size=60, not 61."),
        ({"config": {"levels": 3}}, "the file has levels=2, not 3."),
        ({"searched": ["learning_rate"]}, "the file has another search space."),
        ({"config": {"replicates": 2}}, "Expected one replicate .* Received: replicates=2."),
        ({"config": {"reinits": 1}}, "without controls.* Received: reinits=1."),
        ({"max_trials": 0}, "max_trials to be at least 1"),
        ({"algorithm": "grid"}, "out of bayesian, random. Received: algorithm='grid'"),
        ({"config": {"levels": 99, "prune_rate_fc": 0.9}}, "would prune the last weight"),
    ],
)
def test_search_that_does_not_fit_is_refused(searched, config, digits, copied, change, message):
    config = config.replace(**change.pop("config", {}))
    with pytest.raises(UsageError, match=message):
        TicketTuner(config, digits, **{**copied, **change})
    assert len(searched[0].results()) == 3


def test_hyperparameters_must_be_fields_that_trials_may_differ_in(config, digits, tmp_path):
    space = keras_tuner.HyperParameters()
    space.Int("seed", 0, 9)
    space.Float("units", 0, 1)
    with pytest.raises(UsageError, match="Received: seed, units."):
        TicketTuner(config, digits, directory=tmp_path, searched=space)


def test_other_folder_is_refused_and_kept(config, digits, tmp_path):
    (tmp_path / "tuning").mkdir()
    (tmp_path / "tuning" / "thesis.txt").write_text("mine")
    for overwrite in (False, True):
        with pytest.raises(UsageError, match="holds 'thesis.txt' and no tune.json"):
            TicketTuner(config, digits, directory=tmp_path, overwrite=overwrite)
    assert (tmp_path / "tuning" / "thesis.txt").exists()


def test_two_searches_in_one_folder(config, digits, copied):
    tuner = TicketTuner(config, digits, **copied)
    with tuner.project.lock("oracle"):
        with pytest.raises(UsageError, match="which process [0-9]+ is using"):
            tuner.search()
        with pytest.raises(UsageError, match="which process [0-9]+ is using"):
            TicketTuner(config, digits, **copied, overwrite=True)
    assert len(tuner.results()) == 3


def test_overwrite_starts_again(config, digits, copied):
    log = copied["listener"] = Log()
    tuner = TicketTuner(config, digits, **{**copied, "max_trials": 1}, overwrite=True)
    tuner.search()
    assert log.started == [None, 0]
    assert [result.trial for result in tuner.results()] == [0]


def test_environment_of_distributed_search_must_be_whole(config, digits, tmp_path, monkeypatch):
    monkeypatch.setenv("KERASTUNER_ORACLE_IP", "127.0.0.1")
    with pytest.raises(UsageError, match="no KERASTUNER_ORACLE_PORT and no KERASTUNER_TUNER_ID"):
        TicketTuner(config, digits, directory=tmp_path)
    monkeypatch.setenv("KERASTUNER_ORACLE_PORT", "18000")
    monkeypatch.setenv("KERASTUNER_TUNER_ID", "worker0")
    with pytest.raises(UsageError, match="Received: a worker. Delete .* first"):
        TicketTuner(config, digits, directory=tmp_path, overwrite=True)
    assert not (tmp_path / "tuning").exists()
