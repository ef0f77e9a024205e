"""From which iteration on a network is stable: rewinding there gives tickets."""

import dataclasses
from collections.abc import Iterator, Sequence

from lth_tf.analysis import line
from lth_tf.analysis.bench import evaluated
from lth_tf.errors import RunError
from lth_tf.masking.model import get_masks, get_weights
from lth_tf.methods.base import Ticket, Weights
from lth_tf.runs import rewinding
from lth_tf.runs.stage import FORK, Stage
from lth_tf.seeding import stream_seed
from lth_tf.tickets.learner import Setup, TrainerLearner
from lth_tf.tickets.listener import RunListener
from lth_tf.training.trainer import Trainer

STABLE = 0.02
"""Largest error barrier of a stable network, a fraction of the labels."""

CANDIDATES = (0.0, 0.005, 0.01, 0.02, 0.04, 0.08, 0.16)
"""Fractions of a training that are tried, in this order."""

_POINTS = 30


def first_stable_iteration(
    setup: Setup,
    learner: TrainerLearner,
    initial: Weights,
    listeners: Sequence[RunListener] = (),
) -> int:
    """Returns the first of some iterations from which on the dense network is stable.

    The network is trained once, and again for each iteration k that is tried: alike up to k, then
    on batches in another order. It is stable if on the straight line between the two results
    the validation error rises by less than 2 % above the mean of its ends. What is trained
    lies in the run directory as controls of level 0, so none is trained twice.

    Args:
        setup: config, data, run directory and network.
        learner: trains the dense network.
        initial: path -> array of every weight before training.
        listeners: hear of each training.

    Raises:
        RunError: if none is stable.

    Source:
        Frankle et al. 2020, arXiv:1912.05671, section 2 (instability analysis; there of the test
        error, with 30 points).
    """
    found = rewinding.recorded(setup.run_dir)
    if found is not None:
        return found
    iterations = setup.config.iterations
    candidates = list(dict.fromkeys(round(part * iterations) for part in CANDIDATES))
    known: dict[str, float] = {}
    for tried, rise in barriers(setup, learner, initial, candidates, listeners):
        known[str(tried)] = rise
        if rise < STABLE:
            rewinding.record(setup.run_dir, tried, known)
            return tried
    told = ", ".join(f"{100 * value:.1f} % from {k}" for k, value in known.items())
    raise RunError(
        f"The network is not stable early in training: error barriers of {told}. "
        "Give rewind_iteration.",
        arguments=("rewind_iteration",),
    )


def barriers(
    setup: Setup,
    learner: TrainerLearner,
    initial: Weights,
    candidates: Sequence[int],
    listeners: Sequence[RunListener] = (),
) -> Iterator[tuple[int, float]]:
    """Yields iterations, and the error barrier between two networks that are one up to there.

    What is trained lies in the run directory as controls of level 0, so none is trained twice.

    Args:
        setup: config, data, run directory and network.
        learner: trains the dense network.
        initial: path -> array of every weight before training.
        candidates: iterations, in the order in which they are tried.
        listeners: hear of each training.
    """
    run_dir, iterations = setup.run_dir, setup.config.iterations
    dense = get_masks(setup.model)
    whole = Ticket(_stage(iterations), dense, initial)
    if not run_dir.has(whole.stage):
        weights, history, *_ = learner.train(whole, listeners)
        run_dir.save_stage(whole.stage, dense, weights, history)
    other = _other_trainer(setup)
    for tried in candidates:
        if not run_dir.has(_stage(tried)):
            _train_fork(tried, initial, setup, learner, other, listeners)
        ends = (run_dir.trained(whole.stage), run_dir.trained(_stage(tried)))
        yield tried, barrier(other, *ends)


def barrier(trainer: Trainer, one: Weights, other: Weights, points: int = _POINTS) -> float:
    """Returns the rise of the validation error on the line between two sets of weights.

    See `lth_tf.analysis.line.barrier`.

    Args:
        trainer: evaluates its model, whose weights are changed.
        one: path -> array of every weight.
        other: the same.
        points: on the line, both ends included.
    """
    found = line.between(lambda weights: evaluated(trainer, weights), one, other, points)
    return line.barrier(found.error)


def _stage(iteration: int) -> Stage:
    return Stage(0, f"{FORK}_{iteration}")


def _other_trainer(setup: Setup) -> Trainer:
    """Returns what trains a copy of the network on batches in another order."""
    config = setup.config
    seed = stream_seed(config.seed, FORK)
    model = setup.new_model()
    return Trainer(model, setup.data, dataclasses.replace(config, seed=seed), setup.jit)


def _train_fork(
    iteration: int,
    initial: Weights,
    setup: Setup,
    learner: TrainerLearner,
    other: Trainer,
    listeners: Sequence[RunListener],
) -> None:
    """Trains a copy that is the network's own up to an iteration."""
    stage, masks = _stage(iteration), get_masks(setup.model)
    setup.run_dir.forget_metrics(stage, after=-1)
    for listener in listeners:
        listener.stage_started(stage, 1.0, 0)
    other.restore(learner.state_at(Ticket(stage, masks, initial, stop=iteration)))
    for evaluation in other.evaluations():
        setup.run_dir.append_metrics(stage, evaluation.to_json())
        for listener in listeners:
            listener.evaluated(stage, evaluation)
    history = other.history()
    setup.run_dir.save_stage(stage, masks, get_weights(other.model), history)
    for listener in listeners:
        listener.stage_finished(stage, setup.run_dir.summary(stage))
