"""Tickets in `model.fit`: a callback that records levels, prunes and rewinds."""

import contextlib
import dataclasses
import importlib.metadata
import os
import pathlib
import sys
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, ClassVar

import keras
import numpy as np

from lth_tf import pruning, tickets
from lth_tf.config import FitConfig
from lth_tf.fit_level import Level
from lth_tf.layers import (
    get_masks,
    get_weights,
    mask_model,
    random_states,
    to_numpy,
    weight_groups,
)
from lth_tf.records import RunDir, Stage


class TicketCallback(keras.callbacks.Callback):
    """Finds lottery tickets while `model.fit` trains a model of any kind.

    A level is `epochs_per_level` epochs. After it the level is recorded, the model is
    pruned, every surviving weight (moving statistics too) is put back to its value
    before training, the optimizer starts afresh, and `fit` goes on with the next
    level. In the end the model is the last level's network; the run directory holds
    them all, for `python -m experiments.report` and `python -m export`.

    A `fit` that was killed goes on where it was, at most `checkpoint_seconds` back,
    when the same program is started again.

    Args:
        run_dir: folder for the results, e.g. "runs/mine/seed_0".
        epochs_per_level: epochs of a level.
        levels: train-prune rounds after the dense network, level 0.
        prune_rates: fraction of the remaining weights pruned a level: one number; a
            number by group (conv, fc, output), layer or weight, what is not named
            being left dense; or a function that is given the path of a weight, e.g.
            "fc1/kernel". Convolutions are the group conv, the last masked layer is
            output, and all others are fc.
        method: pruning criterion, e.g. "magnitude".
        scope: "layerwise", or "global" to rank all weights of the same rate together.
        strategy: "iterative", or "oneshot" to prune the dense network to each size.
        start: "rewind", or "continue" to train on from the trained weights.
        skip: what is left unmasked, see `mask_model`.
        rewind_epoch: every level starts from the weights after this many epochs, which
            are trained first; 0 is before training.
        test_data: what tickets are judged on, as `model.evaluate` takes it: a tuple of
            inputs and labels, or a data set. None: the validation data.
        metric: name of the metric that tickets are judged by, larger is better.
            Default: the accuracy among the compiled metrics.
        level_callbacks: callbacks that live one level long, their epochs counted from
            0: an `EarlyStopping` among them ends the level it is in. In the list
            given to `fit` it ends the whole training.
        seed: seed of random criteria.
        checkpoint_seconds: time between checkpoints inside a level.
        verbose: 1 prints a line a level.

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

    # A `fit` that was interrupted leaves its callback, and so the lock, behind.
    _writing: ClassVar[dict[pathlib.Path, contextlib.ExitStack]] = {}

    def __init__(
        self,
        run_dir: str | os.PathLike,
        *,
        epochs_per_level: int,
        levels: int,
        prune_rates: float | Mapping[str, float] | Callable[[str], float] = 0.2,
        method: str = "magnitude",
        scope: str = "layerwise",
        strategy: str = "iterative",
        start: str = "rewind",
        skip: Iterable[str] | Callable[[str], bool] = (),
        rewind_epoch: int = 0,
        test_data: Any = None,
        metric: str | None = None,
        level_callbacks: Sequence[keras.callbacks.Callback] = (),
        seed: int = 0,
        checkpoint_seconds: float = 60.0,
        verbose: int = 1,
    ):
        super().__init__()
        self.run_dir = RunDir(run_dir)
        self._config = FitConfig(
            epochs_per_level=epochs_per_level,
            levels=levels,
            method=method,
            scope=scope,
            strategy=strategy,
            start=start,
            rewind_epoch=rewind_epoch,
            metric=metric or "",
            seed=seed,
        )
        pruning.CRITERIA.get(method)
        self._prune_rates = prune_rates
        self._skip = skip
        self._test_data = test_data
        self._level_callbacks = list(level_callbacks)
        self._checkpoint_seconds = checkpoint_seconds
        self._verbose = verbose
        self._optimizer: keras.optimizers.Optimizer | None = None
        self._fresh: list[np.ndarray] = []
        self._level: Level | None = None
        self._forward_batches()

    @property
    def epochs(self) -> int:
        """How many epochs to ask `fit` for: those of all levels that are not done yet.

        Levels may end early; training stops after the last one in any case.
        """
        config = self._config
        left = config.levels + 1 - len(self._finished())
        first = 0 if self.run_dir.has_origin() else config.rewind_epoch
        return first + left * config.epochs_per_level

    def set_model(self, model: keras.Model) -> None:
        """Masks the model, before `fit` compiles its training step."""
        super().set_model(model)
        mask_model(model, self._skip)
        for callback in self._level_callbacks:
            callback.set_model(model)

    def set_params(self, params: dict[str, Any]) -> None:
        """Hands the parameters of `fit` on to the level's callbacks."""
        super().set_params(params)
        for callback in self._level_callbacks:
            callback.set_params({**params, "epochs": self._config.epochs_per_level})

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Opens the run directory and goes to where it left off."""
        with self._closed_by_errors():
            self._begin()

    def _begin(self) -> None:
        masks = get_masks(self.model)
        self._rates = pruning.layer_rates(weight_groups(self.model), self._prune_rates)
        shown = ", ".join(f"{path}={rate:g}" for path, rate in self._rates.items())
        config = dataclasses.replace(self._config, network=self.model.name, prune_rates=shown)
        pruning.plan({path: mask.size for path, mask in masks.items()}, self._rates, config)
        self._open(config)
        if self._optimizer is not self.model.optimizer:
            self._optimizer = self.model.optimizer
            self._fresh = _fresh_optimizer(self.model)
            self._fresh += [to_numpy(state) for state in random_states(self.model)]
        if not self.run_dir.has_origin() and not config.rewind_epoch:
            self.run_dir.save_origin(get_weights(self.model))
        self._start_next()
        if self._verbose and self.params.get("epochs", 0) < self.epochs:
            print(
                f"fit is asked for {self.params['epochs']} epochs, all levels take {self.epochs}: "
                "epochs=callback.epochs. Calling fit again goes on."
            )

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Tells the level's callbacks."""
        if self._level is not None:
            self._level.epoch_begins(logs)

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Records the epoch; at the end of a level prunes, rewinds and starts the next."""
        with self._closed_by_errors():
            self._end_epoch(logs or {})

    def _end_epoch(self, logs: dict[str, float]) -> None:
        if self._level is None:
            self._before_level_0()
            return
        self._level.epoch_ends(logs)
        if self._level.done:
            summary = self._level.finish()
            if self._verbose:
                print(_line(summary))
            self._start_next()
        else:
            self._level.save_progress(every=self._checkpoint_seconds)

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Keeps what was trained of an unfinished level, and closes the run directory."""
        if self._all_done():
            self._go_to_last_level()  # fit makes an update before it heeds stop_training
        elif self._level is not None:
            self._level.save_progress()
        self._close()

    def _open(self, config: FitConfig) -> None:
        self._close()
        judged_on = "validation data" if self._test_data is None else "test data"
        about = {
            "argv": sys.argv,
            "versions": {
                name: importlib.metadata.version(name) for name in ("tensorflow", "keras", "numpy")
            },
            "device": keras.distribution.list_devices()[0],
            "judged_on": judged_on,
        }
        stack = contextlib.ExitStack()
        stack.enter_context(self.run_dir.writing(config, about))
        self._writing[self.run_dir.path.resolve()] = stack
        if not self.run_dir.has_model():
            self._save_model()

    def _save_model(self) -> None:
        """Keeps the model, for tools that are not told how to build it."""
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "model.keras")
            try:
                self.model.save(file)
            except (NotImplementedError, TypeError, ValueError) as error:
                print(
                    f"Keras cannot save this model ({str(error).splitlines()[0]}): tickets are "
                    "recorded, but `python -m export --run` will not know what to put them into."
                )
                return
            self.run_dir.save_model(file.read_bytes())

    def _close(self) -> None:
        stack = self._writing.pop(self.run_dir.path.resolve(), None)
        if stack is not None:
            stack.close()

    @contextlib.contextmanager
    def _closed_by_errors(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self._close()
            raise

    def _finished(self) -> list[Stage]:
        stages = [Stage(level) for level in range(self._config.levels + 1)]
        return [stage for stage in stages if self.run_dir.has(stage)]

    def _all_done(self) -> bool:
        return len(self._finished()) == self._config.levels + 1

    def _before_level_0(self) -> None:
        """Trains up to the epoch that every level starts from."""
        self._epochs_before += 1
        if self._epochs_before == self._config.rewind_epoch:
            self.run_dir.save_origin(get_weights(self.model))
            self._start_next()

    def _start_next(self) -> None:
        """Rewinds the model to the first level that is not done, or ends the training."""
        self._level, self._epochs_before = None, 0
        if not self.run_dir.has_origin():
            self._start_afresh()
            return
        if self._all_done():
            self._go_to_last_level()
            self.model.stop_training = True
            return
        done = self._finished()
        level = next(n for n in range(self._config.levels + 1) if Stage(n) not in done)
        masks, start = get_masks(self.model), self.run_dir.origin()
        if level:
            masks, start = tickets.next_ticket(self.run_dir, level, self._rates, self._config)
        else:
            masks = {path: np.ones_like(mask) for path, mask in masks.items()}
        tickets.rewind(self.model, masks, start)
        self._start_afresh()
        self._level = Level(
            Stage(level),
            masks,
            self.model,
            self._config,
            self.run_dir,
            self._level_callbacks,
            self._test_data,
        )

    def _go_to_last_level(self) -> None:
        last = Stage(self._config.levels)
        tickets.rewind(self.model, self.run_dir.mask(last), self.run_dir.trained(last))

    def _start_afresh(self) -> None:
        """Resets the optimizer, and the random generators so that levels draw alike."""
        variables = [*self._optimizer.variables, *random_states(self.model)]
        for variable, value in zip(variables, self._fresh, strict=True):
            variable.assign(value)

    def _forward_batches(self) -> None:
        """Makes batch hooks only where they are needed: having any slows `fit` down."""
        for name in ("on_train_batch_begin", "on_train_batch_end"):
            hooks = [
                getattr(callback, name)
                for callback in self._level_callbacks
                if getattr(type(callback), name) is not getattr(keras.callbacks.Callback, name)
            ]
            if hooks:
                setattr(self, name, _all_of(hooks))


def _all_of(hooks: list[Callable[..., None]]) -> Callable[..., None]:
    def call(batch: int, logs: dict[str, float] | None = None) -> None:
        for hook in hooks:
            hook(batch, logs)

    return call


def _fresh_optimizer(model: keras.Model) -> list[np.ndarray]:
    """Returns the optimizer's variables as they are before the first update."""
    optimizer = model.optimizer
    with model.distribute_strategy.scope():
        if optimizer.built and int(to_numpy(optimizer.iterations)):
            optimizer = keras.saving.deserialize_keras_object(
                keras.saving.serialize_keras_object(optimizer)
            )
        if not optimizer.built:
            optimizer.build(model.trainable_variables)
    return [to_numpy(variable) for variable in optimizer.variables]


def _line(summary: dict[str, Any]) -> str:
    """Returns what is printed of a finished level."""
    return (
        f"\nlevel {summary['level']}: {100 * summary['density']:.2f} % remaining, early stop at "
        f"iteration {summary['early_stop_iteration']:,} with "
        f"{100 * summary['early_stop_test_accuracy']:.2f} %, "
        f"{100 * summary['final_test_accuracy']:.2f} % at the last"
    )
