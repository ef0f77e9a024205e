"""One level while `model.fit` trains it."""

import json
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_tf.config import FitConfig
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.masking.model import get_weights, random_states, set_weights, to_numpy
from lth_tf.runs.history import Evaluation, History, from_columns, to_columns
from lth_tf.runs.run_dir import RunDir, Stage

# Before level 0: the training up to the epoch that every level starts from.
ORIGIN = Stage(0, "origin")
# Keras's monitoring callbacks turn the sign of this one when they first compare.
_NOT_KEPT = "min_delta"


class Level:
    """What is known of a level in the middle of a `fit`.

    Args:
        stage: which level it is, or ORIGIN.
        masks: what it is trained under.
        model: the compiled model, at the weights the level starts from, its
            optimizer fresh.
        config: epochs of a level, and the metric that counts.
        run_dir: where it is recorded; a checkpoint there is gone on from.
        callbacks: live as long as the level.
        test_data: what it is judged on, None for the validation data.

    Attributes:
        epoch: epochs trained.
        done: True after its last epoch.
    """

    def __init__(
        self,
        stage: Stage,
        masks: Masks,
        model: keras.Model,
        config: FitConfig,
        run_dir: RunDir,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        test_data: Any = None,
    ):
        self.stage = stage
        self.epoch = 0
        self.done = False
        self._epochs = config.rewind_epoch if stage == ORIGIN else config.epochs_per_level
        self._masks = masks
        self._model = model
        self._config = config
        self._run_dir = run_dir
        self._callbacks = callbacks
        self._test_data = test_data
        self._evaluations: list[Evaluation] = []
        self._best: dict[str, np.ndarray] = {}
        self._logs: dict[str, float] = {}
        self._ended_in_batch = False
        self._seconds = 0.0
        self._since = time.monotonic()
        for callback in callbacks:
            callback.on_train_begin()
        state = run_dir.progress(stage)
        if state is not None:
            self._restore(state)
        run_dir.forget_metrics(stage, after=self._evaluations[-1].iteration if self.epoch else -1)
        self._state = state or self._current_state()
        self._saved = time.monotonic()

    def epoch_begins(self, logs: dict[str, float] | None) -> None:
        """Tells the level's callbacks."""
        for callback in self._callbacks:
            callback.on_epoch_begin(self.epoch, logs)

    def batch(self, hook: str, batch: int, logs: dict[str, float] | None) -> None:
        """Tells the level's callbacks of a batch; one that stops training ends the level."""
        stopped = self._model.stop_training
        for callback in self._callbacks:
            getattr(callback, hook)(batch, logs)
        self._ended_in_batch |= self._model.stop_training and not stopped

    def epoch_ends(self, logs: dict[str, float]) -> None:
        """Records an epoch.

        Raises:
            UsageError: if there was no validation, or no metric to judge by.
            RunError: if a loss is not finite.
        """
        self._logs = {name: float(v) for name, v in logs.items() if np.ndim(v) == 0}
        evaluation = self._evaluation(self._logs)
        if (
            not self._evaluations
            or evaluation.validation_loss < self._best_evaluation().validation_loss
        ):
            self._best = get_weights(self._model)
        self._evaluations.append(evaluation)
        self._run_dir.append_metrics(self.stage, evaluation.to_json())
        model = self._model
        stopped = model.stop_training and not self._ended_in_batch
        model.stop_training = False
        for callback in self._callbacks:
            callback.on_epoch_end(self.epoch, logs)
        ended = model.stop_training or self._ended_in_batch
        model.stop_training = stopped
        self.epoch += 1
        self.done = ended or self.epoch == self._epochs
        # Taken now: what fit does at its end (moving averages of the optimizer, best
        # weights of other callbacks) is no part of the level.
        if not self.done:
            self._state = self._current_state()

    def save_progress(self, every: float = 0.0) -> None:
        """Writes the state after the last epoch, if the last one written is old enough.

        Args:
            every: seconds that must have passed.
        """
        if time.monotonic() - self._saved >= every:
            self._run_dir.save_progress(self.stage, self._state)
            self._saved = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Records the level, and returns its summary; of ORIGIN only the weights."""
        if self.stage == ORIGIN:
            self._run_dir.save_origin(get_weights(self._model))
            return {}
        last = get_weights(self._model)
        for callback in self._callbacks:
            callback.on_train_end(self._logs)
        weights = get_weights(self._model)
        best, final = self._best_evaluation(), self._evaluations[-1]
        early_stop_accuracy = best.validation_accuracy
        final_accuracy = final.validation_accuracy
        if not _same(weights, last) and _same(weights, self._best):
            final_accuracy = early_stop_accuracy
        if self._test_data is not None:
            final_accuracy = self._test_accuracy()
            set_weights(self._model, self._best)
            early_stop_accuracy = self._test_accuracy()
            set_weights(self._model, weights)
        history = History(
            evaluations=self._evaluations,
            early_stop_iteration=best.iteration,
            early_stop_test_accuracy=early_stop_accuracy,
            final_test_accuracy=final_accuracy,
            final_train_accuracy=self._logs[self._metric(self._logs)],
            seconds=self._seconds_so_far(),
        )
        self._run_dir.save_stage(self.stage, self._masks, weights, history)
        return self._run_dir.summary(self.stage)

    def _best_evaluation(self) -> Evaluation:
        return min(self._evaluations, key=lambda e: e.validation_loss)

    def _evaluation(self, logs: dict[str, float]) -> Evaluation:
        if "val_loss" not in logs:
            raise UsageError(
                "Expected validation after every epoch: a ticket is judged at the minimum "
                f"validation loss. Received: logs of {', '.join(logs)}. "
                "Give fit validation_data= or validation_split=, and validation_freq=1."
            )
        for name in ("loss", "val_loss"):
            if not np.isfinite(logs[name]):
                raise RunError(
                    f"The {name} is not finite at epoch {self.epoch + 1} of {self.stage}. "
                    "Try a smaller learning rate."
                )
        iteration = int(to_numpy(self._model.optimizer.iterations))
        if iteration <= (self._evaluations[-1].iteration if self._evaluations else 0):
            raise UsageError(
                "Expected at least one update of the optimizer an epoch. Received: none in epoch "
                f"{self.epoch + 1}. Use a smaller gradient_accumulation_steps, or longer epochs."
            )
        accuracy = logs[f"val_{self._metric(logs)}"]
        return Evaluation(
            iteration=iteration,
            train_loss=logs["loss"],
            validation_loss=logs["val_loss"],
            validation_accuracy=accuracy,
            test_accuracy=accuracy if self._test_data is None else None,
        )

    def _metric(self, logs: dict[str, float]) -> str:
        """Returns the name of the metric that tickets are judged by."""
        wanted = self._config.metric
        names = [name for name in logs if f"val_{name}" in logs and name != "loss"]
        found = [name for name in names if name.endswith(("acc", "accuracy"))]
        if {"acc", "accuracy"} & set(names):
            found = [name for name in ("accuracy", "acc") if name in names][:1]
        if wanted:
            found = [wanted] if wanted in names else []
        if len(found) != 1:
            raise UsageError(
                "Expected one compiled metric to judge tickets by, larger being better: an "
                f"accuracy, or the one that metric= names. Received: metric={wanted or None!r} and "
                f"{', '.join(names) or 'no metrics'}."
            )
        return found[0]

    def _test_accuracy(self) -> float:
        given = {"x": self._test_data}
        if isinstance(self._test_data, (tuple, list)):
            given = dict(zip(("x", "y", "sample_weight"), self._test_data, strict=False))
        logs = self._model.evaluate(**given, verbose=0, return_dict=True)
        return float(logs[self._metric({**self._logs, **logs})])

    def _seconds_so_far(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _changing(self) -> list[keras.Variable]:
        """Returns what goes on changing beside the weights."""
        return [*self._model.optimizer.variables, *random_states(self._model)]

    def _current_state(self) -> dict[str, np.ndarray]:
        state = {f"weight/{path}": value for path, value in get_weights(self._model).items()}
        state |= {f"best/{path}": value for path, value in self._best.items()}
        state |= {f"changing/{i}": to_numpy(v) for i, v in enumerate(self._changing())}
        for name, column in to_columns(self._evaluations).items():
            state[f"evaluation/{name}"] = column
        state["epoch"] = np.array(self.epoch)
        state["seconds"] = np.array(self._seconds_so_far())
        state["callbacks"] = np.array(json.dumps([plain_state(c) for c in self._callbacks]))
        for i, callback in enumerate(self._callbacks):
            for name, arrays in _kept_weights(callback).items():
                state |= {f"kept/{i}/{name}/{j}": array for j, array in enumerate(arrays)}
        return state

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        parts: dict[str, dict[str, np.ndarray]] = {"evaluation": {}, "best": {}, "kept": {}}
        for name, value in state.items():
            kind, _, rest = name.partition("/")
            parts.setdefault(kind, {})[rest] = value
        set_weights(self._model, parts["weight"])
        for i, variable in enumerate(self._changing()):
            variable.assign(state[f"changing/{i}"])
        self._best = parts["best"]
        self._evaluations = from_columns(parts["evaluation"])
        self.epoch = int(state["epoch"])
        self._seconds = float(state["seconds"])
        saved = json.loads(str(state["callbacks"]))
        if len(saved) != len(self._callbacks):
            raise UsageError(
                f"Expected the {len(saved)} level callbacks {self.stage} was begun with. Received: "
                f"{len(self._callbacks)}."
            )
        for callback, values in zip(self._callbacks, saved, strict=True):
            set_plain_state(callback, values)
        lists: dict[tuple[int, str], list[np.ndarray]] = {}
        for name, array in parts["kept"].items():
            i, attribute, _ = name.split("/")
            lists.setdefault((int(i), attribute), []).append(array)
        for (i, attribute), arrays in lists.items():
            setattr(self._callbacks[i], attribute, arrays)


def plain_state(callback: keras.callbacks.Callback) -> dict[str, Any]:
    """Returns the attributes of a callback that are numbers, texts or None: how far it is."""
    kinds = (bool, int, float, str, type(None))
    return {
        name: value
        for name, value in vars(callback).items()
        if isinstance(value, kinds) and name != _NOT_KEPT
    }


def set_plain_state(callback: keras.callbacks.Callback, state: dict[str, Any]) -> None:
    """Gives a callback the attributes that `plain_state` returned."""
    for name, value in state.items():
        if not callable(getattr(callback, name, None)):
            setattr(callback, name, value)


def _kept_weights(callback: keras.callbacks.Callback) -> dict[str, list[np.ndarray]]:
    """Returns the attributes of a callback that hold weights, such as the best ones."""
    return {
        name: value
        for name, value in vars(callback).items()
        if isinstance(value, list) and value and all(isinstance(v, np.ndarray) for v in value)
    }


def _same(one: dict[str, np.ndarray], other: dict[str, np.ndarray]) -> bool:
    return all(np.array_equal(value, other[path]) for path, value in one.items())
