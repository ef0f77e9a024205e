"""Which loop trains a level: the compiled one, or that of the remaining weights alone."""

import importlib.util
import math
import time
from collections.abc import Callable

import keras
import tensorflow as tf

from lth_tf.config import ExperimentConfig
from lth_tf.datasets import Data
from lth_tf.datasets.streamed import Streamed
from lth_tf.errors import UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.masking.layers import CONVOLUTIONS, layers_of
from lth_tf.masking.model import get_weights, set_weights
from lth_tf.methods.hooks import Hooks
from lth_tf.training import replicas
from lth_tf.training.batches import (
    Examples,
    InMemoryBatches,
    StreamedBatches,
    StreamedExamples,
)
from lth_tf.training.loop import CompiledLoop, Loop
from lth_tf.training.sparse.chain import links_of
from lth_tf.training.step import DenseStep, Step
from lth_tf.training.streamed_loop import StreamedLoop

with lazy_imports():  # numba takes a second
    from lth_tf.training.sparse import loop as sparse_loop

StepMaker = Callable[[keras.Model, ExperimentConfig, Hooks | None], Step]

# Denser networks, and shorter trainings, are not worth a timing.
_DENSITY, _UPDATES = 0.75, 1_000
_TIMED, _ROUNDS = 100, 2


class Loops:
    """The loops that can train a model, each made when it is first used.

    Args:
        model: what is trained.
        data: on what.
        config: how.
        jit: see `Trainer`.
        hooks: what a method adds to an update.
        step: see `Trainer`.

    Raises:
        UsageError: if the step is "sparse" and the model, or how it is trained, is not for it.
    """

    def __init__(
        self,
        model: keras.Model,
        data: Data,
        config: ExperimentConfig,
        jit: str,
        hooks: Hooks | None,
        step: str | StepMaker,
    ):
        self._model, self._config = model, config
        self._data = data.streamed() if data.is_streamed else data
        self._jit, self._hooks, self._step = jit, hooks, step
        self._made: dict[str, Loop] = {}
        self._sparse_below = 0.0
        self._strategy = tf.distribute.get_strategy()
        self._replicas = self._strategy.num_replicas_in_sync
        if self._replicas > 1:
            replicas.check(model, config, hooks, self._replicas)
        if step == "sparse":
            if self._replicas > 1:
                raise UsageError(
                    "Expected step='dense' on several devices. Received: step='sparse'.",
                    arguments=("step",),
                )
            links_of(model, data, config, hooks)

    def named(self, name: str) -> Loop:
        """Returns the loop "dense" or "sparse"."""
        if name not in self._made:
            with self._strategy.scope():
                self._made[name] = self._sparse() if name == "sparse" else self._dense()
        return self._made[name]

    @property
    def traces(self) -> int:
        """How often a program of the compiled loop was traced, at most."""
        dense = self._made.get("dense")
        return dense.traces if isinstance(dense, CompiledLoop) else 0

    def choose(self, iteration: int) -> tuple[str, bool]:
        """Returns the name of the loop for a training from the weights the model has now.

        With step="auto" that is the faster one of the two, found out by a timing where the
        network is sparse enough and the training long enough for it. Weights are put back.

        Args:
            iteration: where the training begins.

        Returns:
            "dense" or "sparse"; whether a timing, now or at a denser level, has decided.
        """
        if self._step != "auto":
            return ("sparse" if self._step == "sparse" else "dense"), False
        density = self._density()
        left = self._config.iterations - iteration
        if density > _DENSITY or left < _UPDATES:
            return "dense", False
        if density > self._sparse_below:
            weights = get_weights(self._model)
            dense, sparse = self._seconds(iteration)
            set_weights(self._model, weights)
            if sparse >= dense:
                return "dense", True
            self._sparse_below = density
        return "sparse", True

    def _density(self) -> float:
        """Returns the fraction of the weights that is left; infinity if the dense step must do."""
        if self._replicas > 1 or tf.config.list_physical_devices("GPU"):
            return math.inf
        if not importlib.util.find_spec("numba"):
            return math.inf
        try:
            masks = [
                link.mask() for link in links_of(self._model, self._data, self._config, self._hooks)
            ]
        except UsageError:
            return math.inf
        return sum(int(mask.sum()) for mask in masks) / sum(mask.size for mask in masks)

    def _seconds(self, iteration: int) -> tuple[float, float]:
        """Returns how long an interval takes the dense and the sparse loop, in turn."""
        count = min(self._config.eval_interval, _TIMED)
        loops = [self.named("dense"), self.named("sparse")]
        found: list[list[float]] = [[], []]
        for loop in loops:
            loop.restart(iteration)
            loop.interval(iteration, count, tested=False)  # it may be compiled here
        for _ in range(_ROUNDS):
            for loop, seconds in zip(loops, found, strict=True):
                start = time.perf_counter()
                loop.interval(iteration, count, tested=False)
                seconds.append(time.perf_counter() - start)
        return min(found[0]), min(found[1])

    def _dense(self) -> CompiledLoop:
        maker = DenseStep if isinstance(self._step, str) else self._step
        data, config = self._data, self._config
        step = maker(self._model, config, self._hooks)
        jit = uses_jit(self._model, self._jit) and self._replicas == 1
        if self._replicas > 1:
            step = replicas.ReplicatedStep(step, self._model, self._strategy)
        splits = {name: getattr(data, name) for name in ("train", "validation", "test")}
        if isinstance(data.train, Streamed):
            return StreamedLoop(
                self._model,
                step,
                StreamedBatches(data.train, data.preprocessing, config),
                {
                    name: StreamedExamples(split, data.preprocessing)
                    for name, split in splits.items()
                },
                jit,
            )
        return CompiledLoop(
            self._model,
            step,
            InMemoryBatches(data.train, data.preprocessing, config),
            {name: Examples(split, data.preprocessing) for name, split in splits.items()},
            jit,
            length=config.eval_interval,
            tests=bool(config.test_interval),
        )

    def _sparse(self) -> Loop:
        return sparse_loop.SparseLoop(self._model, self._data, self._config, self._hooks)


def uses_jit(model: keras.Model, jit: str) -> bool:
    """Returns whether a model is compiled with XLA under "auto", "on" or "off"."""
    if jit != "auto":
        return jit == "on"
    if tf.config.list_physical_devices("GPU"):
        return True
    return not any(isinstance(layer, CONVOLUTIONS) for layer in layers_of(model))
