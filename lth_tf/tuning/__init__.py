"""The smallest network that is as good as the dense one: a search with KerasTuner."""

import contextlib
import dataclasses
import os
import pathlib
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
import keras
import keras_tuner
from keras_tuner.engine.trial import Trial, TrialStatus

from lth_tf import networks
from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.model import get_masks, set_masks, set_weights
from lth_tf.runs.provenance import data_record, provenance, versions
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.seeding import stream_seed
from lth_tf.tensorflow_internals import released_functions
from lth_tf.tickets.find import find_tickets, network_rates, new_model
from lth_tf.tickets.listener import RunListener
from lth_tf.tickets.procedure import plan
from lth_tf.tuning.listeners import EnoughLevels, Patience, TuningListener
from lth_tf.tuning.objective import ACCURACY, Outcome, Result, judge
from lth_tf.tuning.oracles import make_oracle, saved_trials
from lth_tf.tuning.project import Project
from lth_tf.tuning.roles import address, role
from lth_tf.tuning.space import check_space, search_space


class _Fatal(keras_tuner.errors.FatalError):
    """Ends the search; KerasTuner would go on after any other error, its cause."""


class TicketTuner(keras_tuner.Tuner):
    """Searches for the smallest network within a tolerance of the dense one's accuracy.

    A trial finds tickets with values of its own for prune rates, learning rate, warm-up and
    rewind iteration. Its objective is the density of its smallest level whose validation
    accuracy, at its early stop, is at most `tolerance` below that of the dense network
    trained with the values of `config`; if there is none, 1 plus what the best one lacks.
    The test set takes no part in the search. The first trial has the config's own values.

    Trials and dense network are run directories in the folder of the search, for
    `python -m experiments.report` and `python -m export`. A search that was killed goes on
    where it was, inside a level; a finished one can be given more trials.

    With KerasTuner's environment variables for distributed tuning (KERASTUNER_TUNER_ID,
    KERASTUNER_ORACLE_IP and KERASTUNER_ORACLE_PORT) `search` serves as chief or works as
    worker. All processes must see the same folder. A worker that is killed
    has to be started again under its id: the chief waits for it.

    Args:
        config: the experiment; its values are the middle of the search.
        data: what to train and validate on.
        directory: folder of searches.
        project_name: folder of this search in `directory`.
        tolerance: validation accuracy that a network may be below the dense one, as a fraction.
        max_trials: number of trials; may grow from one call to the next.
        algorithm: "bayesian" or "random".
        searched: names of the fields to search, all that `search_space` knows if empty; or
            KerasTuner's hyperparameters, named as fields of `ExperimentConfig`.
        patience: a trial ends after this many levels in a row that are neither accurate
            enough nor as accurate as its own dense network; 0 trains all levels.
        jit: see `Trainer`.
        step: see `Trainer`.
        deterministic: see `find_tickets`.
        checkpoint_seconds: time between checkpoints inside a level.
        overwrite: delete an earlier search in the folder first.
        about: what the run directories say beside their config: versions, device, data.
        listener: hears what happens.

    Attributes:
        project: the files of the search.
        role: "single", "chief" or "worker".
        space: the values that are searched.

    Raises:
        UsageError: if an argument does not fit, the folder holds another search, or
            the environment variables are not complete.

    Example::

        config = ExperimentConfig(dataset="digits", iterations=500, levels=12)
        data = datasets.load("digits", image_shape=networks.image_shape("lenet"))
        tuner = TicketTuner(config, data, directory="searches", max_trials=30)
        tuner.search()
        print(tuner.results()[0])
    """

    def __init__(
        self,
        config: ExperimentConfig,
        data: Data,
        *,
        directory: str | os.PathLike,
        project_name: str = "tuning",
        tolerance: float = 0.005,
        max_trials: int = 20,
        algorithm: str = "bayesian",
        searched: Sequence[str] | keras_tuner.HyperParameters = (),
        patience: int = 3,
        jit: str = "auto",
        step: str = "auto",
        deterministic: bool = True,
        checkpoint_seconds: float = 60.0,
        overwrite: bool = False,
        about: dict[str, Any] | None = None,
        listener: TuningListener | None = None,
    ):
        _check(config, tolerance, max_trials, patience)
        self.role = role()
        self.project = Project(pathlib.Path(directory) / project_name)
        self._config, self._data = config, data
        self._tolerance, self._patience = tolerance, patience
        self._how: dict[str, Any] = {
            "jit": jit,
            "step": step,
            "deterministic": deterministic,
            "checkpoint_seconds": checkpoint_seconds,
        }
        self._about = about or provenance(data=data_record(data), versions=versions("keras-tuner"))
        self._listener = listener or TuningListener()
        self._max_trials = max_trials
        self._told: set[str] = set()

        model = new_model(config, data, "init")
        self._model, self._dense = model, get_masks(model)
        self._plan(config)
        space = searched
        if not isinstance(space, keras_tuner.HyperParameters):
            space = search_space(config, networks.groups(model).values(), searched)
        check_space(space)
        self.space = space
        oracle = make_oracle(
            algorithm,
            space,
            max_trials,
            seed=stream_seed(config.seed, "tuning"),
            file=self.project.oracle_file,
            ended=self._tell if self.role == "chief" else None,
        )
        if overwrite:
            self._overwrite()
        self.project.claim(
            {
                **config.to_json(),
                "tolerance": tolerance,
                "patience": patience,
                "algorithm": algorithm,
                "search space": {entry.name: entry.get_config() for entry in space.space},
            }
        )
        if self.role != "worker":
            oracle.reload()
        super().__init__(oracle, directory=str(directory), project_name=project_name)

    @property
    def weights(self) -> int:
        """Number of prunable weights of the dense network."""
        return sum(mask.size for mask in self._dense.values())

    def search(self) -> None:
        """Runs the trials that are not done; returns at once if there are none.

        A chief serves its workers until the last trial is done.

        Raises:
            UsageError: if another process leads the same search, or the chief cannot
                listen at its address.
            RunError: if the dense network's loss is not finite, a file cannot be
                written, or a worker loses its chief.
        """
        if self.role != "chief":
            self._listener.reference_known(self.reference())
        with self._leading():
            if not self.finished():
                with _errors():
                    super().search()

    def reference(self) -> dict[str, Any]:
        """Returns the summary of the dense network, trained first if it was not yet.

        Of several processes one trains it and the others wait.
        """
        run_dir = self.project.dense
        config = dataclasses.replace(self._config, levels=0)
        if not run_dir.has(Stage(0)):
            with self._only_here("the dense network", run_dir):
                if not run_dir.has(Stage(0)):
                    self._listener.training_started(None, config)
                    self._find_tickets(config, run_dir)
        return run_dir.summary(Stage(0))

    def finished(self) -> bool:
        """True if as many trials are done as were asked for."""
        trials = saved_trials(self.project.oracle_file)
        return sum(t.status == TrialStatus.COMPLETED for t in trials) >= self._max_trials

    def results(self) -> list[Result]:
        """Returns the finished trials, the best first."""
        trials = saved_trials(self.project.oracle_file)
        done = [self._result(t) for t in trials if t.status == TrialStatus.COMPLETED]
        return sorted(done, key=lambda result: (result.outcome.objective, result.trial))

    def run_trial(self, trial: Trial) -> float:
        """Finds the tickets of a trial and returns its objective; called by `search`."""
        try:
            config = self.trial_config(trial.hyperparameters.values)
            run_dir = self.project.trial(trial.trial_id)
            with self._only_here(f"trial {int(trial.trial_id)}", run_dir):
                self._listener.training_started(int(trial.trial_id), config)
                self._run(config, run_dir)
            return self._outcome(run_dir).objective
        except Exception as error:
            raise _Fatal(str(error)) from error

    def trial_config(self, values: dict[str, Any]) -> ExperimentConfig:
        """Returns the config of a trial: as many levels as leave every layer a weight."""
        config = self._config.replace(**values)
        for levels in range(config.levels, 0, -1):
            shorter = dataclasses.replace(config, levels=levels)
            with contextlib.suppress(UsageError):
                self._plan(shorter)
                return shorter
        return dataclasses.replace(config, levels=0)

    def on_trial_begin(self, trial: Trial) -> None:
        """Frees what Keras keeps of the trial before; called by `search`."""
        keras.utils.clear_session()

    def on_trial_end(self, trial: Trial) -> None:
        """Reports a trial; called by `search`."""
        super().on_trial_end(trial)
        self._tell(trial)

    def load_model(self, trial: Trial) -> keras.Model:
        """Returns the network that decides a trial's objective, masked and trained."""
        run_dir = self.project.trial(trial.trial_id)
        outcome = self._outcome(run_dir)
        if outcome.level is None:
            raise UsageError(
                "Expected a trial with a finished level. "
                f"Received: trial {int(trial.trial_id)}, which diverged."
            )
        stage = Stage(outcome.level)
        config = run_dir.config()
        if not isinstance(config, ExperimentConfig):
            raise UsageError(f"Expected a trial of an experiment. Received: a {config.kind}.")
        model = new_model(config, self._data, "init")
        set_masks(model, run_dir.mask(stage))
        set_weights(model, run_dir.trained(stage))
        return model

    def save(self) -> None:
        """Writes the state of the search; called by `search`."""
        if self.role != "worker":
            self.oracle.save()

    def _run(self, config: ExperimentConfig, run_dir: RunDir) -> None:
        """Trains the levels of a trial, until it diverges or has no hope."""
        patience = Patience(self.reference()[ACCURACY], self._tolerance, self._patience)
        try:
            self._find_tickets(config, run_dir, patience)
        except EnoughLevels:
            pass
        except RunError as error:
            # Files that cannot be written are the search's trouble, a loss that is
            # not finite is the trial's own: what it finished before counts.
            if isinstance(error.__cause__, OSError):
                raise

    def _find_tickets(
        self, config: ExperimentConfig, run_dir: RunDir, *listeners: RunListener
    ) -> None:
        with run_dir.writing(config, self._about), released_functions():
            find_tickets(
                config,
                self._data,
                run_dir,
                listeners=[self._listener, *listeners],
                **self._how,
            )

    def _plan(self, config: ExperimentConfig) -> None:
        plan(config, self._dense, network_rates(config, self._model))

    def _outcome(self, run_dir: RunDir) -> Outcome:
        return judge(_summaries(run_dir), self.reference()[ACCURACY], self._tolerance)

    def _result(self, trial: Trial) -> Result:
        run_dir = self.project.trial(trial.trial_id)
        summaries = _summaries(run_dir)
        return Result(
            trial=int(trial.trial_id),
            # In an order of their own, which those of a worker's trial have lost.
            values={e.name: trial.hyperparameters.values[e.name] for e in self.space.space},
            outcome=self._outcome(run_dir),
            levels=len(summaries),
            seconds=sum(summary["seconds"] for summary in summaries),
            path=run_dir.path,
        )

    def _tell(self, trial: Trial) -> None:
        # A chief that was killed hands out again what its workers still had.
        if trial.trial_id not in self._told:
            self._told.add(trial.trial_id)
            self._listener.trial_finished(self._result(trial))

    def _overwrite(self) -> None:
        if self.role != "single":
            raise UsageError(
                "Expected overwrite only of a process alone: chief and workers would delete each "
                f"other's files. Received: a {self.role}. Delete {self.project.path} first."
            )
        self.project.delete()

    @contextlib.contextmanager
    def _only_here(self, what: str, run_dir: RunDir) -> Iterator[None]:
        """Waits until no other process works on a run directory."""
        with self.project.lock(
            run_dir.path.name, waiting=lambda process: self._listener.waiting(what, process)
        ):
            yield

    @contextlib.contextmanager
    def _leading(self) -> Iterator[None]:
        """Holds the search's state, unless a chief does so elsewhere."""
        if self.role == "worker":
            yield
            return
        with self.project.lock("oracle"):
            self.oracle.reload()
            yield


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Turns what KerasTuner raises into what a person can act on."""
    try:
        yield
    except _Fatal as fatal:
        raise fatal.__cause__ from None
    except grpc.RpcError as error:
        raise RunError(
            f"The chief at {address()} does not answer ({error.code().name}). "
            "Start it again, and then this worker."
        ) from error
    except RuntimeError as error:
        if isinstance(error, RunError) or role() != "chief":
            raise
        raise UsageError(
            f"Expected an address that the chief can listen at. Received: {address()} "
            f"({str(error).partition(';')[0]}). Choose another KERASTUNER_ORACLE_PORT."
        ) from error


def _summaries(run_dir: RunDir) -> Sequence[dict[str, Any]]:
    return [run_dir.summary(stage) for stage in run_dir.finished() if not stage.control]


def _check(config: ExperimentConfig, tolerance: float, max_trials: int, patience: int) -> None:
    if not 0 <= tolerance < 1:
        raise UsageError(f"Expected a tolerance in [0, 1). Received: tolerance={tolerance!r}.")
    for name, value, least in (("max_trials", max_trials, 1), ("patience", patience, 0)):
        if value < least:
            raise UsageError(f"Expected {name} to be at least {least}. Received: {name}={value!r}.")
    asked = [("replicates", config.replicates)] if config.replicates > 1 else []
    for control in config.controls:
        asked.append((dataclasses.fields(control)[0].name, control.count))
    for name, value in asked:
        if value:
            raise UsageError(
                "Expected one replicate without controls: a search compares tickets of one seed. "
                f"Received: {name}={value}. Run the best values again for more."
            )
