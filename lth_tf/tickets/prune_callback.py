"""Gradual pruning in `model.fit`, for a sparse model without tickets."""

import math
import numbers
from collections.abc import Callable, Iterable
from fractions import Fraction
from typing import Any

import keras
import numpy as np

from lth_tf import pruning
from lth_tf.config import CRITERIA, GRANULARITIES, SCOPES
from lth_tf.errors import RunError, UsageError
from lth_tf.masking.arrays import Masks
from lth_tf.masking.model import get_masks, get_weights, mask_model, set_masks, zero_pruned
from lth_tf.methods.base import Weights
from lth_tf.methods.gradual import Gradual
from lth_tf.pruning.context import OnDemand, PruningContext
from lth_tf.pruning.granularities.base import EVERY_WEIGHT
from lth_tf.pruning.schedule import SCHEDULES, Schedule, count
from lth_tf.pruning.select import size
from lth_tf.tickets.callback import TicketCallback
from lth_tf.tickets.running_fit import running_fit

_FREQUENCY, _FEWEST = 100, 10  # steps from one pruning to the next; prunings in a short training


class PruneCallback(keras.callbacks.Callback):
    """Prunes a model of any kind, ever more of it, while `model.fit` trains it.

    Nothing is recorded and nothing is rewound: in the end the model has the density asked
    for, its pruned weights are exactly 0 after every update, whatever the optimizer, and
    `lth_tf.strip_masks` makes it a plain model. `TicketCallback(method="gradual")` prunes in the
    same way and records runs.

    A step is a batch. A fit that goes on at an epoch (`BackupAndRestore`, `initial_epoch`) goes
    on with the schedule there: masks are part of the model and of what is saved of it. The same
    callback in a second `fit` of the same model goes on counting. What is pruned stays pruned.
    The history has the density after each epoch as "density". With `steps_per_execution`
    a pruning that falls into the middle of an execution comes before it. With JAX pruned weights
    take no part in the model, and are stored as 0 when an epoch ends.

    `EarlyStopping(restore_best_weights=True)` would put a denser model back if its best epoch
    came before the end of pruning: it must have `start_from_epoch`. A `ModelCheckpoint` of
    the best epoch can have kept a denser model too.

    Args:
        final_density: fraction of the masked weights kept in the end, in (0, 1). Every layer
            keeps round(final_density * its weights), at least 1, unless `scope` says otherwise.
        begin_step: step before which pruning begins, the first being 1. Default: after a tenth of
            the training.
        end_step: step from which on the density is the final one. Default: after half of the
            training, counted as epochs times steps of the first `fit`.
        frequency: steps from one pruning to the next. Default: 100, less if fewer than 10
            prunings fit in.
        initial_density: fraction kept at `begin_step`, at least `final_density`.
        schedule: "polynomial", ever more with a cubic, or "constant", all at `begin_step`; see
            `lth_tf.pruning.schedule.Schedule`.
        criterion: which weights stay: a name out of lth_tf/pruning, or a function of a
            `PruningContext`. Those that need gradients or the weights before training are
            refused.
        scope: how many weights each layer keeps: "layerwise", "global" to rank all together,
            or a name out of lth_tf/pruning/scopes.
        granularity: what is kept or pruned as one: a name out of lth_tf/pruning/granularities,
            e.g. "channel", which `export.compact` removes. Numbers are rounded to whole units;
            layers without any, such as outputs whose channels stay, are left dense.
        skip: what is left unmasked, see `mask_model`.
        seed: seed of random criteria.
        verbose: 1 prints a line when training begins and when it ends.

    Raises:
        UsageError: if an argument does not fit, or the `fit` cannot be pruned in.

    Source:
        Zhu & Gupta 2017, arXiv:1710.01878, section 3.

    Example::

        prune = lth_tf.PruneCallback(final_density=0.1)
        model.fit(x, y, epochs=10, callbacks=[prune])
        lth_tf.strip_masks(model).save("pruned.keras")
    """

    async_safe = True  # Keras need not wait for batches to end, where alone they are counted.

    def __init__(
        self,
        final_density: float,
        *,
        begin_step: int | None = None,
        end_step: int | None = None,
        frequency: int | None = None,
        initial_density: float = 1.0,
        schedule: str = "polynomial",
        criterion: str | Callable = "magnitude",
        scope: str = "layerwise",
        granularity: str = "weight",
        skip: Iterable[str] | Callable[[str], bool] = (),
        seed: int = 0,
        verbose: int = 1,
    ):
        super().__init__()
        _check_densities(final_density, initial_density)
        _check_steps(begin_step, end_step, frequency)
        if schedule not in SCHEDULES:
            raise UsageError(
                f"Expected schedule to be one of {', '.join(SCHEDULES)}. "
                f"Received: schedule={schedule!r}."
            )
        CRITERIA.get(criterion)
        SCOPES.get(scope)
        self._granularity = GRANULARITIES.get(granularity)()
        self._densities = float(initial_density), float(final_density)
        self._steps = begin_step, end_step, frequency
        self._kind = schedule
        self._criterion = criterion
        self._scope = scope
        self._skip = skip
        self._seed = seed
        self._verbose = verbose
        self._pruned_model: keras.Model | None = None

    def set_model(self, model: keras.Model) -> None:
        """Masks the model, before `fit` compiles its training step."""
        super().set_model(model)
        mask_model(model, self._skip)
        self._units = self._granularity.units(model)
        if model is not self._pruned_model:
            self._pruned_model = model
            self._made: Schedule | None = None
            self._done: int | None = None

    def on_train_begin(self, logs: dict[str, float] | None = None) -> None:
        """Fixes the schedule, and tries the criterion before anything is trained."""
        if self._made is None:
            self._made = self._make_schedule()
        self._check_others(running_fit(self.model))
        masks = get_masks(self.model)
        can_go = self._units.shared(dict.fromkeys(masks, 1.0))
        self._sizes = {path: mask.size for path, mask in masks.items() if can_go[path]}
        self._density = _density(masks)
        self._last: int | None = None
        self._check_final_density(masks)
        self._score(masks, get_weights(self.model), step=0)
        if self._verbose:
            print(self._plan(), flush=True)

    def on_epoch_begin(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Finds out how many steps came before, in a fit that goes on."""
        if self._done is None:
            self._done = epoch * (self._batches(epoch) or 0)
        self._before_epoch, self._trained = self._done, 0

    def on_train_batch_begin(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Prunes if it is time."""
        steps = self._pruned_model.steps_per_execution if self._pruned_model is not None else 1
        covered = self._at_most(batch + (steps or 1))
        due = self._schedule.last_due(self._before_epoch + covered)
        if due is not None and due != self._last:
            self._last = due
            self._prune(due)

    def on_train_batch_end(self, batch: int, logs: dict[str, float] | None = None) -> None:
        """Counts the steps: of data without a length one more begins than is trained."""
        self._trained = max(self._trained, self._at_most(batch + 1))

    def on_epoch_end(self, epoch: int, logs: dict[str, float] | None = None) -> None:
        """Puts the density into the history."""
        self._done = self._before_epoch + self._trained
        if logs is not None:
            logs["density"] = self._density

    def on_train_end(self, logs: dict[str, float] | None = None) -> None:
        """Says what the model came to."""
        zero_pruned(self.model)  # of an optimizer that has put averages into it
        if not self._verbose:
            return
        text, settled = f"{100 * self._density:.2f} % of the weights are left", self._schedule
        if self._last != settled.settled:
            text += (
                f"; at step {settled.settled:,} it will be {100 * settled.final:g} %, "
                f"this fit ended at {self._done or 0:,}"
            )
        print(f"{text}.", flush=True)

    @property
    def _schedule(self) -> Schedule:
        """The schedule, which `fit` fixes when it begins."""
        if self._made is None:
            raise RuntimeError("Expected a fit that has begun.")
        return self._made

    def _prune(self, step: int) -> None:
        density = self._schedule.density(step)
        # Where JAX trains, asking for the model puts its state into it.
        model = self.model
        masks, weights = get_masks(model), get_weights(model)
        dense = {path: np.broadcast_to(np.uint8(1), mask.shape) for path, mask in masks.items()}
        scores = self._score(masks, weights, step)
        _check_finite(scores, masks, step)
        scores = _with_one_kept(scores, masks)
        masks = masks | pruning.choose(
            {path: scores[path] for path in self._sizes},
            {path: masks[path] for path in self._sizes},
            self._rates(density),
            self._scope,
            base=dense,
            units=self._units,
        )
        set_masks(model, masks)
        self._density = _density(masks)

    def _rates(self, density: Fraction) -> dict[str, Fraction]:
        """Returns weight path -> fraction of the weight that is pruned."""
        if self._scope != "layerwise" or self._units is not EVERY_WEIGHT:
            return dict.fromkeys(self._sizes, 1 - density)
        # Of a layer's own count, or halves would be rounded the other way.
        return {
            path: 1 - Fraction(count(size, density), size) for path, size in self._sizes.items()
        }

    def _score(self, masks: Masks, weights: Weights, step: int) -> Weights:
        context = PruningContext(
            masks=masks,
            trained=weights,
            origin=OnDemand(_no_origin),
            stream=(self._seed, "prune", step),
            units=self._units,
        )
        return pruning.score(context, self._criterion)

    def _batches(self, epoch: int = 0) -> int | None:
        """Returns how many batches an epoch has; None if nobody knows."""
        batches = (self.params or {}).get("steps")
        if batches is None and epoch:
            raise UsageError(
                "Expected data with a known number of batches, by which a fit that goes on knows "
                f"where it was. Received: data without a length, at epoch {epoch}. "
                "Give fit steps_per_epoch=."
            )
        return batches

    def _at_most(self, batches: int) -> int:
        """Returns a number of batches, those of an epoch at most: the last execution is shorter."""
        known = self._batches()
        return batches if known is None else min(batches, known)

    def _make_schedule(self) -> Schedule:
        begin, end, frequency = self._steps
        constant = self._kind == "constant"
        if begin is None or (end is None and not constant):
            batches = self._batches()
            if batches is None:
                raise UsageError(
                    "Expected begin_step= and end_step=, or data with a known number of batches. "
                    "Received: data without a length. Give fit steps_per_epoch=, or the steps."
                )
            total = self.params["epochs"] * batches
            begin = max(1, round(Gradual.prune_begin * total)) if begin is None else begin
            end = max(begin, round(Gradual.prune_end * total)) if end is None else end
        end = begin if constant or end is None else end
        if end < begin:
            raise UsageError(
                f"Expected end_step of at least begin_step={begin}. Received: end_step={end}. "
                "Give both, or train for longer."
            )
        frequency = frequency or min(_FREQUENCY, max(1, (end - begin) // _FEWEST))
        return Schedule(begin, end, frequency, *self._densities, self._kind)

    def _plan(self) -> str:
        schedule = self._schedule
        text = f"Pruned to {100 * schedule.final:g} % of the weights "
        if schedule.begin == schedule.settled:
            return f"{text}at step {schedule.begin:,}."
        return (
            f"{text}from step {schedule.begin:,} to {schedule.end:,}, every {schedule.frequency:,}."
        )

    def _check_final_density(self, masks: Masks) -> None:
        final = self._schedule.final
        shapes = {path: masks[path].shape for path in self._sizes}
        rates = self._rates(Fraction(repr(final)))
        whole = {name: size(shape) for name, shape in self._units.shapes(shapes).items()}
        pools = pruning.pools(whole, rates, shapes, self._scope, self._units)
        for pool, (names, kept) in pools.items():
            if kept < sum(int(np.min(self._units.sizes(name))) for name in names):
                raise UsageError(
                    f"Expected every layer to keep at least one weight. Received: final_density="
                    f"{final:g}, which leaves {kept} to {pool!r}."
                )

    def _check_others(self, fit: dict[str, Any]) -> None:
        """Refuses callbacks that would undo what this one does."""
        batches = self._batches()
        for callback in getattr(fit.get("callbacks"), "callbacks", []):
            name = type(callback).__name__
            if isinstance(callback, TicketCallback) or (
                isinstance(callback, PruneCallback) and callback is not self
            ):
                raise UsageError(
                    f"Expected one callback that prunes. Received: PruneCallback and {name}. "
                    "Leave one out."
                )
            if not getattr(callback, "restore_best_weights", False) or batches is None:
                continue
            steps = self._schedule.settled - (self._done or 0)
            if self._done is not None:
                steps += batches * (fit.get("initial_epoch") or 0)
            first = max(0, math.ceil(steps / batches) - 1)
            if callback.start_from_epoch < first:
                raise UsageError(
                    f"Expected {name}(restore_best_weights=True) with start_from_epoch of at least "
                    f"{first}: before that epoch ends the model has more weights than "
                    f"final_density. Received: start_from_epoch={callback.start_from_epoch}."
                )


def _with_one_kept(scores: Weights, masks: Masks) -> Weights:
    """Returns scores by which no layer loses its last weight."""
    kept = {}
    for path, score in scores.items():
        if masks[path].any():
            score = np.asarray(score).astype(np.result_type(score, np.float32))
            best = np.argmax(np.where(masks[path] != 0, score, -np.inf))
            score.reshape(-1)[best] = np.inf
        kept[path] = score
    return kept


def _check_finite(scores: Weights, masks: Masks, step: int) -> None:
    for path, score in scores.items():
        if np.isnan(score[masks[path] != 0]).any():
            raise RunError(
                f"Weights of {path!r} are not finite at step {step:,}. Try a smaller learning rate."
            )


def _density(masks: Masks) -> float:
    left = sum(int(np.count_nonzero(mask)) for mask in masks.values())
    return left / sum(mask.size for mask in masks.values())


def _no_origin() -> Weights:
    raise UsageError(
        "Expected a criterion of the weights as they are. Received: one that compares them with "
        "those before training, which a fit that goes on does not know. Use magnitude."
    )


def _check_densities(final: float, initial: float) -> None:
    both = isinstance(final, numbers.Real) and isinstance(initial, numbers.Real)
    if not both or not 0 < final < 1:
        raise UsageError(
            "Expected final_density to be a fraction of the weights in (0, 1). "
            f"Received: final_density={final!r}."
        )
    if not final <= initial <= 1:
        raise UsageError(
            f"Expected initial_density from final_density={final:g} to 1. "
            f"Received: initial_density={initial!r}."
        )


def _check_steps(begin: int | None, end: int | None, frequency: int | None) -> None:
    values = {"begin_step": (begin, 0), "end_step": (end, 0), "frequency": (frequency, 1)}
    for name, (value, least) in values.items():
        whole = isinstance(value, numbers.Integral) and not isinstance(value, bool)
        if value is not None and not (whole and value >= least):
            raise UsageError(
                f"Expected {name} to be a whole number of steps, at least {least}. "
                f"Received: {name}={value!r}."
            )
