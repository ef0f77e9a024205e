"""KerasTuner's search algorithms, made to stand being killed.

KerasTuner writes its state as several files, one after the other and in place, and
draws from a random generator that it does not save. Here all of it is one file that
is replaced as a whole, and what is drawn depends on the seed and the trial alone: a
search that is killed at any moment goes on as if it had not been.

The only file that uses what KerasTuner does not document. Checked with KerasTuner 1.4.7 and
1.4.8.
"""

import pathlib
import warnings
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import keras_tuner
import numpy as np
from keras_tuner.engine.trial import Trial, TrialStatus
from keras_tuner.oracles import BayesianOptimizationOracle, RandomSearchOracle

from lth_tf.errors import UsageError
from lth_tf.files import read_json, write_json
from lth_tf.tuning.space import short

OBJECTIVE = "objective"
_TRIES = 100  # random draws before the space is taken to be exhausted


if TYPE_CHECKING:
    from keras_tuner import Oracle as _Oracle
else:
    _Oracle = object  # KerasTuner's class comes in later


class _TicketOracle(_Oracle):
    """What the algorithms share; comes before KerasTuner's class among the bases.

    Args:
        file: where the state is kept.
        ended: called with each trial that ends.
        **arguments: of KerasTuner's class.
    """

    ongoing_trials: dict[str, Trial]
    _retry_queue: list[str]

    def __init__(
        self, file: pathlib.Path, ended: Callable[[Trial], None] | None = None, **arguments: Any
    ):
        super().__init__(objective=keras_tuner.Objective(OBJECTIVE, "min"), **arguments)
        self.verbose = 0
        self._file = file
        self._ended = ended

    def populate_space(self, trial_id: str) -> dict[str, Any]:
        """Returns the values of a trial; those of the first are the defaults."""
        if not self.trials:
            defaults = {entry.name: entry.default for entry in self.hyperparameters.space}
            return {"status": TrialStatus.RUNNING, "values": defaults}
        self._random_state = np.random.RandomState(self.seed + int(trial_id))
        with warnings.catch_warnings():
            # Of the Gaussian process on how well it fits; nothing that a user can act on.
            warnings.simplefilter("ignore")
            response = super().populate_space(trial_id)
        values = _shortened(response["values"])
        for _ in range(_TRIES):
            if values is None or not self._duplicate(values):
                break
            values = _shortened(self._random_values())
        if values is None or self._duplicate(values):
            return {"status": TrialStatus.STOPPED, "values": None}
        return {"status": response["status"], "values": values}

    def end_trial(self, trial: Trial) -> None:
        """Records the end of a trial."""
        super().end_trial(trial)
        if self._ended is not None:
            self._ended(self.trials[trial.trial_id])

    def save(self) -> None:
        """Writes the whole state, trials included."""
        trials = [trial.get_state() for trial in self.trials.values()]
        write_json(self._file, {**self.get_state(), "trials": trials})

    def reload(self) -> None:
        """Reads the state, if there is one; trials that were interrupted will be run on.

        Raises:
            UsageError: if the file is damaged.
        """
        if not self._file.exists():
            return
        self.trials = {trial.trial_id: trial for trial in saved_trials(self._file)}
        self.set_state(read_json(self._file))
        ongoing = [trial.trial_id for trial in self.ongoing_trials.values()]
        self._retry_queue = [
            trial_id
            for trial_id in dict.fromkeys([*self._retry_queue, *ongoing])
            if self.trials[trial_id].status == TrialStatus.RUNNING
        ]
        self.ongoing_trials = {}

    def _save_trial(self, trial: Trial) -> None:
        """Does nothing: `save` follows it, or the trial is run on and reports again."""


class _Random(_TicketOracle, RandomSearchOracle):
    pass


class _Bayesian(_TicketOracle, BayesianOptimizationOracle):
    pass


ALGORITHMS = ("bayesian", "random")


def make_oracle(
    algorithm: str,
    space: keras_tuner.HyperParameters,
    max_trials: int,
    seed: int,
    file: pathlib.Path,
    ended: Callable[[Trial], None] | None = None,
) -> keras_tuner.Oracle:
    """Returns an oracle that minimizes the objective.

    Args:
        algorithm: "bayesian" (a Gaussian process, after twice as many random trials as
            there are values to search) or "random".
        space: the values to search.
        max_trials: number of trials.
        seed: decides the values that are tried.
        file: where the state is kept.
        ended: called with each trial that ends.

    Raises:
        UsageError: if there is no such algorithm.
    """
    if algorithm not in ALGORITHMS:
        raise UsageError(
            f"Expected an algorithm out of {', '.join(ALGORITHMS)}. "
            f"Received: algorithm={algorithm!r}."
        )
    arguments: dict[str, Any] = {
        "hyperparameters": space,
        "max_trials": max_trials,
        # KerasTuner takes 0 for "any seed".
        "seed": seed or 1,
        "tune_new_entries": False,
        "allow_new_entries": False,
    }
    if algorithm == "random":
        return _Random(file, ended, **arguments)
    return _Bayesian(file, ended, num_initial_points=2 * len(space.space), **arguments)


def saved_trials(file: pathlib.Path) -> list[Trial]:
    """Returns the trials of a search's file, in the order of their numbers; [] without it.

    Raises:
        UsageError: if the file is damaged.
    """
    if not file.exists():
        return []
    return [Trial.from_state(state) for state in read_json(file).get("trials", [])]


def _shortened(values: dict[str, Any] | None) -> dict[str, Any] | None:
    if values is None:
        return None
    return {k: short(v) if isinstance(v, float) else v for k, v in values.items()}
