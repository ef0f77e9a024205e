"""Tickets in `model.fit`: a callback that records levels, prunes and rewinds."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np

from lth_tf import pruning
from lth_tf.config import GRANULARITIES, FitConfig
from lth_tf.errors import UsageError
from lth_tf.masking.arrays import Masks, check_same_weights
from lth_tf.masking.groups import weight_groups
from lth_tf.masking.model import get_masks, get_weights, mask_model, set_masks, set_weights
from lth_tf.methods.base import Method
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN, Stage
from lth_tf.tickets import judging
from lth_tf.tickets.fit_hooks import FitHooks, clear, hooks_in_fit
from lth_tf.tickets.fit_level import Level
from lth_tf.tickets.fit_signals import EpochSignals
from lth_tf.tickets.fit_start import FreshState
from lth_tf.tickets.fit_storage import FitStorage, checked_seconds
from lth_tf.tickets.level_callbacks import LevelCallbacks
from lth_tf.tickets.procedure import Procedure, scaled_rates, stages, without_idle_levels
from lth_tf.tickets.reinitialize import new_weights
from lth_tf.tickets.running_fit import (
    batches_an_epoch,
    check_callable_reads,
    check_fit,
    check_strategy,
    derivatives,
    few_examples,
    fingerprint,
    running_fit,
)


class TicketCallback(keras.callbacks.Callback):
    """Finds lottery tickets while `model.fit` trains a model of any kind.

    A level is `epochs_per_level` epochs. After it the level is recorded, the model is
    pruned, every surviving weight (moving statistics too) is put back to its value
    before training, the optimizer starts afresh, and `fit` goes on with the next
    level. In the end the model is the last level's network; the run directory holds
    them all, for `python -m experiments.report` and `python -m export`.

    A `fit` that was killed goes on where it was, at most `checkpoint_seconds` (and one
    epoch) back, when the same program is started again; to the same bits if the data
    come in the same order. Not together with `BackupAndRestore` or `initial_epoch`,
    which would count the epochs twice. Layers need names of their own: files are keyed
    by them. The model has to be built, and newly compiled.

    A level is recorded with the weights that were validated, and begins with mask * origin,
    whatever other callbacks put into the model. Of those that change weights for good at an
    epoch's end (clipping), the changes are in checkpoints if they come before this one.

    Args:
        run_dir: folder for the results, e.g. "runs/mine/seed_0".
        epochs_per_level: epochs of a level.
        levels: train-prune rounds after the dense network, level 0.
        prune_rates: fraction of the remaining weights pruned a level: one number; a
            number by group (conv, fc, output), layer or weight, what is not named
            being left dense; or a function that is given the path of a weight, e.g.
            "fc1/kernel". Convolutions are the group conv, the last masked layer is
            output, and all others are fc. With target_density=0.1 they only say how it is
            shared out.
        method: how tickets are found: a name out of lth_tf/methods, or an object such as
            `IMP(strategy="oneshot", start="continue")`.
        criterion: which weights stay: a name out of lth_tf/pruning, e.g. "magnitude", or a
            function of a `PruningContext`.
        scope: "layerwise", or "global" to rank all of the same rate together.
        granularity: what goes as one: a name out of lth_tf/pruning/granularities, e.g. "channel".
        skip: what is left unmasked, see `mask_model`.
        rewind_epoch: every level starts from the weights after this many epochs, which
            are trained first; 0 is before training. Optimizer and learning-rate schedule
            start afresh in any case.
        test_data: what tickets are judged on, as `model.evaluate` takes it: a tuple of
            inputs and labels, or a data set. None: the validation data.
        metric: name of the metric that tickets are judged by; "loss" or "val_loss" is the
            validation loss alone. Default: the accuracy among the compiled metrics, or
            the loss if no metric is compiled. Numbers are printed in its unit.
        mode: "max" if larger values of the metric are better, "min" if smaller ones are.
            "auto": as Keras knows of its metrics; losses "min", accuracies "max".
        level_callbacks: callbacks that live one level long, their epochs counted from
            0: an `EarlyStopping` among them ends the level it is in. In the list
            given to `fit` it ends the whole training. Each level begins with their
            numbers, texts, lists and dicts as they were before.
        seed: seed of random criteria.
        checkpoint_seconds: time between checkpoints inside a level.
        verbose: 1 prints a line a level.
        **options: options of the method, e.g. strategy="oneshot" or start="continue", and numbers
            of controls, e.g. reinits=1 or random_masks=2, each trained as long as a level.

    Raises:
        UsageError: if an argument does not fit, the run directory is of other
            arguments, or a layer would lose its last weight.
        RunError: if the loss is not finite.

    Source:
        Frankle & Carbin 2019, arXiv:1803.03635, section 2; Frankle et al. 2020,
        arXiv:1912.05671 (`rewind_epoch`).

    Example::

        tickets = lth_tf.TicketCallback("runs/mine/seed_0", epochs_per_level=5, levels=10)
        model.fit(x, y, validation_split=0.1, epochs=tickets.epochs, callbacks=[tickets])
    """

    def __init__(
        self,
        run_dir: str | os.PathLike,
        *,
        epochs_per_level: int,
        levels: int,
        prune_rates: float | Mapping[str, float] | Callable[[str], float] = 0.2,
        method: str | Method = "imp",
        criterion: str | Callable = "magnitude",
        scope: str = "layerwise",
        granularity: str = "weight",
        skip: Iterable[str] | Callable[[str], bool] = (),
        rewind_epoch: int = 0,
        test_data: Any = None,
        metric: str | None = None,
        mode: str = "auto",
        level_callbacks: Sequence[keras.callbacks.Callback] = (),
        seed: int = 0,
        checkpoint_seconds: float = 60.0,
        verbose: int = 1,
        **options: Any,
    ):
        super().__init__()
        self.run_dir = RunDir(run_dir)
        self._storage = FitStorage(self.run_dir)
        self._config = FitConfig(
            epochs_per_level=epochs_per_level,
            levels=levels,
            method=method,
            scope=scope,
            granularity=granularity,
            rewind_epoch=rewind_epoch,
            metric=metric or "",
            mode=mode,
            seed=seed,
        ).replace(criterion=criterion, **options)
        pruning.CRITERIA.get(criterion)
        _check_level_callbacks(level_callbacks)
        self._prune_rates = prune_rates
        self._skip = skip
        self._test_data = test_data
        self._level_callbacks = LevelCallbacks(level_callbacks)
        self._checkpoint_seconds = checked_seconds(checkpoint_seconds)
        self._verbose = verbose
        self._level: Level | None = None
        self._examples: Any = None
        self._news = ""
        self._signals = EpochSignals()
        self._forward_batches()

    @property
    def epochs(self) -> int:
        """How many epochs to ask `fit` for: those of all levels that are not done yet.

        Levels may end early; training stops after the last one in any case.
        """
        config = self._config
        first = 0 if self.run_dir.has_origin() else config.rewind_epoch
        left = len([s for s in stages(config) if not self.run_dir.has(s)])
        return first + left * config.epochs_per_level

    def set_model(self, model: keras.Model) -> None:
        """Masks the model, before `fit` compiles its training step."""
        super().set_model(model)
        check_strategy(model)
        mask_model(model, self._skip)
        self._units = GRANULARITIES.get(self._config.granularity)().units(model)
        self._level_callbacks.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands the parameters of `fit` on to the level's callbacks."""
        super().set_params(params)
        params = {**params, "epochs": self._config.epochs_per_level}
        self._level_callbacks.tell("set_params", params)

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Opens the run directory and goes to where it left off."""
        with self._storage.closed_by_errors():
            fit = running_fit(self.model)
            check_fit(fit, self)
            self._examples = few_examples(fit)
            config = self._checked_config(fit)
            self._storage.open(config, fingerprint(fit), self.model, self._verbose)
            if self.run_dir.has_origin():
                self._check_model()
            clear(self.model)
            hooks = hooks_in_fit(config, self.model, self._rates)
            self._fresh = FreshState(self.model, self.run_dir)
            self._hooks = None if hooks is None else FitHooks(hooks, self.model)
            self._level_callbacks.fit_begins()
            self._go_on()
            if self._level is None and self._verbose:
                print(
                    f"All {self._config.levels + 1} levels in {self.run_dir.path} are done: "
                    "nothing is trained, the model becomes the last level's network."
                )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes and rewinds if a level has ended.

        Not where it ended: callbacks after this one would see its numbers beside the
        weights of the next.
        """
        with self._storage.closed_by_errors():
            self._tell()
            if self._level is not None and self._level.done:
                self._go_on()
            if self._level is not None:
                self._level.epoch_begins(logs)
                self.on_train_batch_begin = self._on_first_batch
                self.on_train_batch_end = self._on_first_batch_end
                self._signals.epoch_begins(self.model)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch, and at the end of a level the level."""
        with self._storage.closed_by_errors():
            if self._level is None:
                return  # fit trains an epoch even if there is nothing to do
            self._level.epoch_ends(logs or {})
            self._storage.keep()
            if not self._level.done:
                every = 0.0 if self._signals.arrived else self._checkpoint_seconds
                self._level.save_progress(every=every)
                self._signals.epoch_ended(f"{self._level.stage} to epoch {self._level.epoch}")
                return
            self._procedure.finish(self._level.ticket, *self._level.finish())
            stage = self._level.ticket.stage
            self._news = "" if stage == ORIGIN else judging.line(self.run_dir.summary(stage))
            self.model.stop_training |= self._all_done()
            self._signals.epoch_ended(str(stage))

    def on_test_begin(self, logs: dict[str, float] | None = None) -> None:
        """Waits for the first batch of validation: then all callbacks have had their say."""
        if self._level is not None:
            self._level_callbacks.tell("on_test_begin", logs)
            self.on_test_batch_begin = self._on_first_test_batch

    def on_test_end(self, logs: dict[str, float] | None = None) -> None:
        """Tells the level's callbacks."""
        if self._level is not None:
            self._level_callbacks.tell("on_test_end", logs)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Keeps what was trained of an unfinished level, and closes the run directory."""
        clear(self.model)
        with self._storage.closed_by_errors():
            self._tell()
            if self._all_done():
                self._go_to_last_level()
            elif self._level is not None and not self._level.done:
                self._level.save_progress()
            if self._verbose and not self._all_done():
                trainings = [s for s in self._procedure.stages() if s != ORIGIN]
                done = sum(map(self._procedure.done, trainings))
                print(
                    f"{done} of {len(trainings)} levels are done. The "
                    f"others take {self.epochs} epochs: fit goes on with epochs=callback.epochs."
                )
        self._storage.close()

    def _tell(self) -> None:
        """Prints what a level came to, once the progress bar of its last epoch is complete."""
        if self._news and self._verbose:
            print(self._news, flush=True)
        self._news = ""

    def _checked_config(self, fit: dict[str, Any]) -> FitConfig:
        """Returns the config of the run, once the model is known."""
        # Broadcast, ones take no memory.
        dense = {p: np.broadcast_to(np.uint8(1), m.shape) for p, m in get_masks(self.model).items()}
        rates = pruning.layer_rates(weight_groups(self.model), self._prune_rates)
        self._rates = rates = scaled_rates(self._config, dense, self._units.shared(rates))
        config = dataclasses.replace(
            self._config,
            network=self.model.name,
            prune_rates=", ".join(f"{path}={rate:g}" for path, rate in rates.items()),
            iterations=(batches_an_epoch(fit) or 0) * self._config.epochs_per_level or None,
            judged_on="validation data" if self._test_data is None else "test data",
        )
        say = print if self._verbose else str
        config = without_idle_levels(config, dense, rates, say, self._units)
        self._config = self._config.replace(levels=config.levels)
        self._procedure = Procedure(
            config,
            self.run_dir,
            dense=dense,
            rates=rates,
            initial=lambda: get_weights(self.model),
            new_weights=lambda *stream: new_weights(self.model, config.seed, *stream),
            rewind=config.rewind_epoch,
            network=derivatives(self.model, fit, config.seed),
            units=self._units,
        )
        return config

    def _check_model(self) -> None:
        try:
            check_same_weights(self.run_dir.origin(), get_weights(self.model))
        except ValueError as error:
            raise UsageError(
                f"Expected the model that {self.run_dir.path} was begun with. Received another: "
                f"{error}"
            ) from error

    def _all_done(self) -> bool:
        return all(map(self._procedure.done, self._procedure.stages()))

    def _go_on(self) -> None:
        """Puts the model where the first stage that is not done starts, or ends the training."""
        self._level = None
        if (ticket := self._procedure.next()) is None:
            self._go_to_last_level()
            self.model.stop_training = True
            return
        self._rewind(ticket.masks, ticket.weights)
        # The weights are in the model: a second copy would stay for the whole level.
        ticket = dataclasses.replace(ticket, weights={})
        self._start_afresh()
        if ticket.stage.level and self._examples is not None:
            examples, self._examples = self._examples, None
            check_callable_reads(self.model, examples)
        self._level = Level(
            ticket,
            self.model,
            self._fresh,
            self._config,
            self.run_dir,
            LevelCallbacks([]) if ticket.stage == ORIGIN else self._level_callbacks,
            self._test_data,
            None if ticket.stage == ORIGIN else self._hooks,
        )
        if ticket.stage == ORIGIN:
            # Nothing else knows the weights it starts from.
            self._level.save_progress()

    def _go_to_last_level(self) -> None:
        last = Stage(self._config.method.levels(self._config))
        self._rewind(self.run_dir.mask(last), self.run_dir.trained(last))

    def _rewind(self, masks: Masks, weights: dict[str, np.ndarray]) -> None:
        set_masks(self.model, masks)
        set_weights(self.model, weights)

    def _start_afresh(self) -> None:
        """Resets optimizer, random generators and level callbacks: all levels begin alike."""
        self._fresh.restore()
        self._level_callbacks.begin_anew()

    def _forward_batches(self, *names: str) -> None:
        """Makes batch hooks only where they are needed: having any slows `fit` down."""
        for name in names or ("begin", "end"):
            if not self._level_callbacks.without(f"on_train_batch_{name}", f"on_batch_{name}"):
                setattr(self, f"on_train_batch_{name}", getattr(self, f"_on_train_batch_{name}"))

    def _on_first_batch(self, batch: int, logs: dict[str, float] | None = None) -> None:
        with self._storage.closed_by_errors():
            if self._level is not None:
                self._level.first_batch()
        del self.on_train_batch_begin
        self._forward_batches("begin")
        self.on_train_batch_begin(batch, logs)

    def _on_first_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        self.__dict__.pop("on_train_batch_end", None)  # Keras may end batches in threads
        self._forward_batches("end")
        if self._level is not None:
            self._level.trained = True
        self.on_train_batch_end(batch, logs)

    def _on_first_test_batch(self, batch: int, logs: dict[str, float] | None = None) -> None:
        del self.on_test_batch_begin
        if self._level is not None:
            self._level.validates()

    def _on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._level is not None:
            self._level.batch("on_train_batch_begin", batch, logs)

    def _on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        if self._level is not None:
            self._level.batch("on_train_batch_end", batch, logs)


def _check_level_callbacks(level_callbacks: Sequence[keras.callbacks.Callback]) -> None:
    if any(isinstance(callback, TicketCallback) for callback in level_callbacks):
        raise UsageError(
            "Expected level_callbacks that live in a level. Received: a TicketCallback, "
            "which makes the levels. Leave it out."
        )
