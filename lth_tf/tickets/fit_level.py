"""One level while `model.fit` trains it."""

import time
from typing import Any

import keras
import numpy as np

from lth_tf.config import FitConfig
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.masking.checks import check_pruned_are_zero
from lth_tf.masking.model import (
    get_masks,
    get_weights,
    set_weights,
    slots_of,
    weight_variables,
)
from lth_tf.masking.variables import store
from lth_tf.methods.base import Ticket, Weights
from lth_tf.runs.history import Evaluation, History, from_columns, to_columns
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN
from lth_tf.tickets import judging
from lth_tf.tickets.fit_correct import correct_labels, judged_arrays
from lth_tf.tickets.fit_hooks import FitHooks
from lth_tf.tickets.fit_start import FreshState
from lth_tf.tickets.held import Held, Snapshot
from lth_tf.tickets.level_callbacks import LevelCallbacks


class Level:
    """What is known of a level in the middle of a `fit`.

    Args:
        ticket: what it starts from.
        model: the compiled model, at the weights the level starts from.
        fresh: its optimizers and random generators, as a level starts.
        config: epochs of a level, and the metric that counts.
        run_dir: where it is recorded; a checkpoint there is gone on from.
        callbacks: live as long as the level.
        test_data: what it is judged on, None for the validation data.
        hooks: what the method adds to an update; None for nothing.

    Attributes:
        epoch: epochs trained.
        done: True after its last epoch.
        trained: True once a batch of the epoch has ended.
    """

    def __init__(
        self,
        ticket: Ticket,
        model: keras.Model,
        fresh: FreshState,
        config: FitConfig,
        run_dir: RunDir,
        callbacks: LevelCallbacks,
        test_data: Any = None,
        hooks: FitHooks | None = None,
    ):
        self.ticket = ticket
        self.stage = stage = ticket.stage
        self.epoch = 0
        self.done = False
        self.trained = self._begun = False
        self._epochs = ticket.stop or config.epochs_per_level
        self._model = model
        self._fresh = fresh
        self._weights = weight_variables(model)
        # Where masks change while a network trains they belong to the weights of their moment.
        masks = {} if hooks is None else slots_of(model)
        self._kept = self._weights | {f"{path}#mask": slot.mask for path, slot in masks.items()}
        self._config = config
        self._run_dir = run_dir
        self._callbacks = callbacks
        self._test_data = test_data
        self._hooks = hooks
        self._evaluations: list[Evaluation] = []
        self._validated: Snapshot | None = None
        self._best: Snapshot | None = None
        self._logs: dict[str, float] = {}
        self._ended_in_batch = False
        self._seconds = 0.0
        self._since = time.monotonic()
        callbacks.tell("on_train_begin")
        if hooks is not None:
            hooks.begin(ticket)
        state = run_dir.progress(stage)
        if state is not None:
            self._restore(state)
        run_dir.forget_metrics(stage, after=self._evaluations[-1].iteration if self.epoch else -1)
        # Not the learning rate: a schedule may have set it when the epoch began.
        start = {n: v for n, v in self._fresh.variables().items() if v.name != "learning_rate"}
        masked = {str(i): variable for i, variable in enumerate(model.weights)}
        self._start: Snapshot | None = Snapshot({**masked, **start})
        self._state: dict[str, Any] | None = self._current_state()
        self._saved = time.monotonic()

    def epoch_begins(self, logs: dict[str, float] | None) -> None:
        """Tells the level's callbacks."""
        self.trained = self._begun = False
        self._callbacks.tell("on_epoch_begin", self.epoch, logs)

    def first_batch(self) -> None:
        """Puts back what the level starts or goes on from, if this is its first batch.

        Other callbacks may have changed it when the epoch began, such as those that put
        averages into the model at an epoch's end and take them out again at the next.
        """
        self._begun = True
        if self._start is not None:
            self._start.restore()
        # Held longer, the values would be copied when training changes them.
        self._start = self._state = self._validated = None

    def batch(self, hook: str, batch: int, logs: dict[str, float] | None) -> None:
        """Tells the level's callbacks of a batch; one that stops training ends the level."""
        stopped = self._model.stop_training
        self._callbacks.tell(hook, batch, logs)
        self._ended_in_batch |= self._model.stop_training and not stopped

    def validates(self) -> None:
        """Keeps the weights that are validated: those are what the numbers are of.

        They need not be those that training goes on from: callbacks may swap averages in.
        """
        self._validated = Snapshot(self._kept)

    def epoch_ends(self, logs: dict[str, float]) -> None:
        """Records an epoch.

        Raises:
            UsageError: if no batch was trained, there was no validation, or no metric to judge by.
            RunError: if a loss is not finite.
        """
        if self._begun and not self.trained:
            # Its loss would be 0, and Keras counts an update of the optimizer nonetheless.
            raise UsageError(
                f"Expected examples in every epoch. Received: none in epoch {self.epoch + 1} of "
                f"{self.stage}: the data ran out. Give fit data that begin anew, such as a data "
                "set without steps_per_epoch=, or one that repeats: data.repeat()."
            )
        self._logs = {name: float(v) for name, v in logs.items() if np.ndim(v) == 0}
        if self._hooks is not None:
            self._hooks.check_called()
        evaluation = self._evaluation(self._logs)
        if self._validated is None:
            self._validated = Snapshot(self._kept)
        self._evaluations.append(evaluation)
        if self._best_evaluation() is evaluation:
            self._best = self._validated
        self._run_dir.append_metrics(self.stage, evaluation.to_json())
        model = self._model
        stopped = model.stop_training and not self._ended_in_batch
        model.stop_training = False
        self._callbacks.tell("on_epoch_end", self.epoch, logs)
        ended = model.stop_training or self._ended_in_batch
        model.stop_training = stopped
        self.epoch += 1
        self.done = ended or self.epoch == self._epochs
        # Held now: what fit does at its end (moving averages of the optimizer, best
        # weights of other callbacks) is no part of the level.
        if not self.done:
            self._state = self._current_state()

    def save_progress(self, every: float = 0.0) -> None:
        """Writes the state after the last epoch, if the last one written is old enough.

        Args:
            every: seconds that must have passed.
        """
        if self._state is not None and time.monotonic() - self._saved >= every:
            self._run_dir.save_progress(self.stage, self._state)
            self._saved = time.monotonic()

    def finish(self) -> tuple[Weights, History | None, Masks | None]:
        """Returns weights, what was measured and masks at the level's end.

        Nothing is measured of ORIGIN; masks are None where they are those of the ticket.

        Raises:
            RunError: if a pruned weight is not 0.
        """
        if self.stage == ORIGIN:
            return get_weights(self._model), None, None
        last = Snapshot(self._kept)
        self._callbacks.tell("on_train_end", self._logs)
        best, final = self._best_evaluation(), self._evaluations[-1]
        recorded, early = self._validated, self._best
        if recorded is None or early is None:
            raise RuntimeError("Expected an epoch before the end of a level.")
        now = Snapshot(self._kept)
        if not now.is_same(last):
            recorded, final = now, self._evaluation_of(now)
        early_stop, last_value = best.validation_accuracy, final.validation_accuracy
        if self._test_data is not None:
            recorded.restore()
            last_value = self._test_value()
            early.restore()
            early_stop = self._test_value()
        metric = self._metric(self._logs)
        correct = correct_labels(
            self._model,
            judged_arrays(self._model, self._test_data),
            metric,
            early_stop=(early, early_stop),
            final=(recorded, last_value),
        )
        recorded.restore()
        learned, masks = {}, None
        if self._hooks is not None:
            self._hooks.hooks.finish()
            learned, masks = self._hooks.hooks.learned(), get_masks(self._model)
        check_pruned_are_zero(self._model)
        self._best = self._validated = None
        del last, now, recorded, early
        history = History(
            evaluations=self._evaluations,
            early_stop_iteration=best.iteration,
            early_stop_test_accuracy=early_stop,
            final_test_accuracy=last_value,
            final_train_accuracy=self._logs[metric],
            seconds=self._seconds_so_far(),
            metric=metric,
            mode=judging.direction(metric, self._model.metrics, self._config.mode),
            correct=correct,
        )
        return get_weights(self._model) | learned, history, masks

    def _best_evaluation(self) -> Evaluation:
        first = self._hooks.hooks.early_stop_from if self._hooks is not None else 0
        # The last one counts until there is one that does.
        counted = [e for e in self._evaluations if e.iteration >= first] or self._evaluations[-1:]
        return min(counted, key=lambda e: e.validation_loss)

    def _evaluation_of(self, weights: Snapshot) -> Evaluation:
        """Returns the evaluation of weights that a level callback has put back."""
        if self._best is not None and weights.is_same(self._best):
            return self._best_evaluation()
        epoch = self._callbacks.restored_epoch()
        return self._evaluations[-1 if epoch is None else epoch]

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
        iteration = self._fresh.updates()
        if iteration <= (self._evaluations[-1].iteration if self._evaluations else 0):
            raise UsageError(
                "Expected at least one update of the optimizer an epoch. Received: none in epoch "
                f"{self.epoch + 1}. Use a smaller gradient_accumulation_steps, or longer epochs."
            )
        metric = self._metric(logs)
        judging.direction(metric, self._model.metrics, self._config.mode)
        value = logs[f"val_{metric}"]
        return Evaluation(
            iteration=iteration,
            train_loss=logs["loss"],
            validation_loss=logs["val_loss"],
            validation_accuracy=value,
            test_accuracy=value if self._test_data is None else None,
        )

    def _metric(self, logs: dict[str, float]) -> str:
        """Returns the name of the metric that tickets are judged by."""
        return judging.metric_name(logs, self._config.metric)

    def _test_value(self) -> float:
        given = {"x": self._test_data}
        if isinstance(self._test_data, (tuple, list)):
            given = dict(zip(("x", "y", "sample_weight"), self._test_data, strict=False))
        logs = self._model.evaluate(**given, verbose=0, return_dict=True)
        return float(logs[self._metric(self._logs)])

    def _seconds_so_far(self) -> float:
        return self._seconds + time.monotonic() - self._since

    def _current_state(self) -> dict[str, Any]:
        """Returns what a checkpoint holds: arrays, and values that numpy can copy to the host."""
        state: dict[str, Any] = {f"weight/{p}": Held(v) for p, v in self._weights.items()}
        if self._best is not None:
            state |= {f"best/{path}": held for path, held in self._best.held.items()}
        state |= {name: Held(v) for name, v in self._fresh.variables().items()}
        state |= self._fresh.built()
        for name, column in to_columns(self._evaluations).items():
            state[f"evaluation/{name}"] = column
        state["epoch"] = np.array(self.epoch)
        state["seconds"] = np.array(self._seconds_so_far())
        if self._hooks is not None:
            state |= self._hooks.state()
        return state | self._callbacks.state()

    def _restore(self, state: dict[str, np.ndarray]) -> None:
        parts: dict[str, dict[str, np.ndarray]] = {"evaluation": {}, "best": {}, "weight": {}}
        for name, value in state.items():
            kind, _, rest = name.partition("/")
            if kind in parts:
                parts[kind][rest] = value
        if parts["best"]:
            for path, value in parts["best"].items():
                store(self._kept[path], value)
            self._best = Snapshot(self._kept)
        if self._hooks is not None:
            # Masks first: weights that have grown since the level began are kept then.
            self._hooks.restore(state)
        set_weights(self._model, parts["weight"])
        self._fresh.assign(state)
        self._evaluations = from_columns(parts["evaluation"])
        self.epoch = int(state["epoch"])
        self._seconds = float(state["seconds"])
        self._callbacks.restore(state)
