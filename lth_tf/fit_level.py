"""One level while `model.fit` trains it."""

import json
import time
from collections.abc import Sequence
from typing import Any

import keras
import numpy as np

from lth_tf.config import FitConfig
from lth_tf.errors import RunError, UsageError
from lth_tf.history import Evaluation, History, from_columns, to_columns
from lth_tf.layers import get_weights, random_states, set_weights, to_numpy
from lth_tf.masks import Masks
from lth_tf.records import RunDir, Stage


class Level:
    """What is known of a level in the middle of a `fit`.

    Args:
        stage: which level it is.
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
        self._masks = masks
        self._model = model
        self._config = config
        self._run_dir = run_dir
        self._callbacks = callbacks
        self._test_data = test_data
        self._evaluations: list[Evaluation] = []
        self._best: dict[str, np.ndarray] = {}
        self._logs: list[dict[str, float]] = []
        self._seconds = 0.0
        self._since = self._saved = time.monotonic()
        for callback in callbacks:
            callback.on_train_begin()
        state = run_dir.progress(stage)
        if state is not None:
            self._restore(state)
        run_dir.forget_metrics(stage, after=self._evaluations[-1].iteration if state else -1)

    def epoch_begins(self, logs: dict[str, float] | None) -> None:
        """Tells the level's callbacks."""
        for callback in self._callbacks:
            callback.on_epoch_begin(self.epoch, logs)

    def epoch_ends(self, logs: dict[str, float]) -> None:
        """Records an epoch.

        Raises:
            UsageError: if there was no validation, or no metric to judge by.
            RunError: if a loss is not finite.
        """
        self._logs.append({name: float(value) for name, value in logs.items()})
        evaluation = self._evaluation(logs)
        better = not self._evaluations or evaluation.validation_loss < min(
            e.validation_loss for e in self._evaluations
        )
        if better and self._test_data is not None:
            self._best = get_weights(self._model)
        self._evaluations.append(evaluation)
        self._run_dir.append_metrics(self.stage, evaluation.to_json())
        ended = self._callbacks_end_epoch(self.epoch, logs)
        self.epoch += 1
        self.done = ended or self.epoch == self._config.epochs_per_level

    def save_progress(self, every: float = 0.0) -> None:
        """Writes a checkpoint if the last one is `every` seconds ago."""
        if not self.epoch or time.monotonic() - self._saved < every:
            return
        state = {f"weight/{path}": value for path, value in get_weights(self._model).items()}
        state |= {f"best/{path}": value for path, value in self._best.items()}
        for name, column in to_columns(self._evaluations).items():
            state[f"evaluation/{name}"] = column
        for i, variable in enumerate(self._other_variables()):
            state[f"other/{i}"] = to_numpy(variable)
        state["epoch"] = np.array(self.epoch)
        state["seconds"] = np.array(self._seconds_so_far())
        state["logs"] = np.array(json.dumps(self._logs))
        for i, callback in enumerate(self._callbacks):
            for name, arrays in _lists_of_arrays(callback).items():
                state |= {f"callback/{i}/{name}/{j}": array for j, array in enumerate(arrays)}
        self._run_dir.save_progress(self.stage, state)
        self._saved = time.monotonic()

    def finish(self) -> dict[str, Any]:
        """Records the level, and returns its summary."""
        for callback in self._callbacks:
            callback.on_train_end(self._logs[-1])
        weights = get_weights(self._model)
        best = min(self._evaluations, key=lambda e: e.validation_loss)
        early_stop, final = best.validation_accuracy, self._evaluations[-1].validation_accuracy
        if self._test_data is not None:
            final = self._test_accuracy()
            set_weights(self._model, self._best)
            early_stop = self._test_accuracy()
            set_weights(self._model, weights)
        history = History(
            evaluations=self._evaluations,
            early_stop_iteration=best.iteration,
            early_stop_test_accuracy=early_stop,
            final_test_accuracy=final,
            final_train_accuracy=self._logs[-1][self._metric(self._logs[-1])],
            seconds=self._seconds_so_far(),
        )
        self._run_dir.save_stage(self.stage, self._masks, weights, history)
        return self._run_dir.summary(self.stage)

    def _callbacks_end_epoch(self, epoch: int, logs: dict[str, float]) -> bool:
        """Tells the level's callbacks, and returns whether one of them ends the level."""
        model = self._model
        stopped, model.stop_training = model.stop_training, False
        for callback in self._callbacks:
            callback.on_epoch_end(epoch, logs)
        ended, model.stop_training = model.stop_training, stopped
        return ended

    def _evaluation(self, logs: dict[str, float]) -> Evaluation:
        if "val_loss" not in logs:
            raise UsageError(
                "Expected validation after every epoch: a ticket is judged at the minimum "
                f"validation loss. Received: logs of {', '.join(logs)}. "
                "Give fit validation_data= or validation_split=."
            )
        for name in ("loss", "val_loss"):
            if not np.isfinite(logs[name]):
                raise RunError(
                    f"The {name} is not finite at epoch {self.epoch + 1} of level "
                    f"{self.stage.level}. Try a smaller learning rate."
                )
        accuracy = float(logs[f"val_{self._metric(logs)}"])
        return Evaluation(
            iteration=int(to_numpy(self._model.optimizer.iterations)),
            train_loss=float(logs["loss"]),
            validation_loss=float(logs["val_loss"]),
            validation_accuracy=accuracy,
            test_accuracy=accuracy if self._test_data is None else None,
        )

    def _metric(self, logs: dict[str, float]) -> str:
        """Returns the name of the metric that tickets are judged by."""
        wanted = self._config.metric
        names = [name for name in logs if f"val_{name}" in logs and name != "loss"]
        found = [n for n in names if n == wanted or not wanted and n.endswith(("acc", "accuracy"))]
        if not found:
            raise UsageError(
                "Expected a compiled metric to judge tickets by, larger being better: an accuracy, "
                f"or the one that metric= names. Received: metric={wanted or None!r} and "
                f"{', '.join(names) or 'no metrics'}."
            )
        return found[0]

    def _test_accuracy(self) -> float:
        data = self._test_data
        given = data if isinstance(data, (tuple, list)) else (data,)
        logs = self._model.evaluate(*given, verbose=0, return_dict=True)
        return float(logs[self._metric({**self._logs[-1], **logs})])

    def _seconds_so_far(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _other_variables(self) -> list[keras.Variable]:
        """Returns what goes on changing beside the weights."""
        return [*self._model.optimizer.variables, *random_states(self._model)]

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        parts: dict[str, dict[str, np.ndarray]] = {}
        for name, value in state.items():
            kind, _, rest = name.partition("/")
            parts.setdefault(kind, {})[rest] = value
        self._logs = json.loads(str(state["logs"]))
        self._replay(parts.get("callback", {}))
        set_weights(self._model, parts["weight"])
        for i, variable in enumerate(self._other_variables()):
            variable.assign(state[f"other/{i}"])
        self._best = parts.get("best", {})
        self._evaluations = from_columns(parts["evaluation"])
        self.epoch = int(state["epoch"])
        self._seconds = float(state["seconds"])

    def _replay(self, arrays: dict[str, np.ndarray]) -> None:
        """Brings the callbacks to where they were: they see the epochs of the level again.

        What they keep of the weights is put back as it was.
        """
        for epoch, logs in enumerate(self._logs):
            for callback in self._callbacks:
                callback.on_epoch_begin(epoch)
            self._callbacks_end_epoch(epoch, dict(logs))
        for i, callback in enumerate(self._callbacks):
            for name, kept in _lists_of_arrays(callback).items():
                saved = [arrays.get(f"{i}/{name}/{j}") for j in range(len(kept))]
                if all(array is not None for array in saved):
                    setattr(callback, name, saved)


def _lists_of_arrays(callback: keras.callbacks.Callback) -> dict[str, list[np.ndarray]]:
    """Returns the attributes of a callback that hold weights, such as the best ones."""
    return {
        name: value
        for name, value in vars(callback).items()
        if isinstance(value, list) and value and all(isinstance(v, np.ndarray) for v in value)
    }
