"""Finding tickets: a procedure, and what trains its stages."""

import contextlib
import dataclasses
import os
import warnings
from collections.abc import Iterator, Sequence

import keras

from lth_tf import networks, pruning
from lth_tf.config import GRANULARITIES, ExperimentConfig, ProcedureConfig
from lth_tf.datasets import Data
from lth_tf.errors import UsageError
from lth_tf.masking.model import get_masks, get_weights
from lth_tf.methods.base import Weights
from lth_tf.methods.hooks import Hooks
from lth_tf.pruning.granularities.base import Units
from lth_tf.runs.provenance import data_record, provenance
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import ORIGIN, Stage
from lth_tf.seeding import stream_seed
from lth_tf.tickets import stability
from lth_tf.tickets.learner import Learner, LearnerMaker, Setup, TrainerLearner
from lth_tf.tickets.listener import RunListener
from lth_tf.tickets.procedure import Procedure, scaled_rates, without_idle_levels
from lth_tf.training.derivatives import DataDerivatives
from lth_tf.training.devices import configure, run_dir_of, workers_of
from lth_tf.training.trainer import Trainer

_INPUTS = {
    "images": "images [height, width, channels]",
    "tokens": "whole numbers [length], one a character,",
}


def find_tickets(
    config: ExperimentConfig,
    data: Data,
    run_dir: RunDir | str | os.PathLike,
    *,
    jit: str = "auto",
    step: str = "auto",
    deterministic: bool = True,
    devices: str = "one",
    checkpoint_seconds: float = 60.0,
    listeners: Sequence[RunListener] = (),
    make_learner: LearnerMaker | None = None,
) -> RunDir:
    """Runs one seed of an experiment; goes on where an earlier call stopped.

    Nothing of the level before is needed to train a level but its files, so a stage that
    is done is skipped.

    Args:
        config: what to run.
        data: what to train on.
        run_dir: where the results go: a path, or a run directory inside its `writing`.
        jit: see `Trainer`.
        step: see `Trainer`; which one a stage was trained with is in its summary, and a
            stage that was interrupted goes on with the same one.
        deterministic: the same bits for a seed on accelerators too; a CPU always gives them.
        devices: "one"; "mirrored", all of this machine, each of which takes its part of a batch;
            "multi_worker", those of all machines that TF_CONFIG names, each of which calls this
            with the same arguments and a folder that they share. Results are equal up to rounding.
        checkpoint_seconds: time between checkpoints inside a level.
        listeners: hear of every stage and evaluation.
        make_learner: what trains the stages; None for `trainer_learner`.

    Returns:
        The run directory.

    Raises:
        UsageError: if the network or method is unknown, pruning would empty a
            layer, or a file of the run directory is damaged.
        RunError: if a loss is not finite, a file cannot be written, or another worker is gone.

    Example::

        data = lth_tf.from_arrays(x, y)
        config = lth_tf.ExperimentConfig(network="lenet", iterations=2000, levels=8)
        run = lth_tf.find_tickets(config, data, "runs/mine/seed_0")
    """
    with prepared(
        config,
        data,
        run_dir,
        jit=jit,
        step=step,
        deterministic=deterministic,
        devices=devices,
        checkpoint_seconds=checkpoint_seconds,
        listeners=listeners,
        make_learner=make_learner,
    ) as (procedure, learner, written):
        train_stages(procedure, learner, written, listeners)
    return written


@contextlib.contextmanager
def prepared(
    config: ExperimentConfig,
    data: Data,
    run_dir: RunDir | str | os.PathLike,
    *,
    jit: str = "auto",
    step: str = "auto",
    deterministic: bool = True,
    devices: str = "one",
    checkpoint_seconds: float = 60.0,
    listeners: Sequence[RunListener] = (),
    make_learner: LearnerMaker | None = None,
) -> Iterator[tuple[Procedure, Learner, RunDir]]:
    """Yields the procedure of a run, what trains its stages, and its run directory.

    Args and errors are those of `find_tickets`.
    """
    configure(deterministic)
    config = dataclasses.replace(config, dataset=data.name)
    check_data(config, data)
    with contextlib.ExitStack() as stack:
        # Only what is trained is made there: whoever makes another model need not wait for others.
        scope = stack.enter_context(workers_of(devices))
        with scope():
            model = new_model(config, data, "init")
        config = without_idle_levels(
            config,
            get_masks(model),
            network_rates(config, model),
            warnings.warn,
            units_of(config, model),
        )
        if not isinstance(run_dir, RunDir):
            run_dir = run_dir_of(run_dir, devices)
            about = provenance(data=data_record(data), **config.method.provenance())
            stack.enter_context(run_dir.writing(config, about))
        check_begun_with(run_dir, data)
        procedure = network_procedure(config, data, run_dir, model)
        setup = Setup(
            config,
            data,
            run_dir,
            model,
            jit,
            step,
            checkpoint_seconds,
            new_model=lambda: new_model(config, data, "init"),
        )
        with scope():
            learner = (make_learner or trainer_learner)(setup)
        if config.method.origin_iteration(config) is None:
            if not isinstance(learner, TrainerLearner):
                raise UsageError(
                    "Expected rewind=auto where a Trainer trains. "
                    f"Received: {type(learner).__name__}."
                )
            initial = get_weights(new_model(config, data, "init"))
            rewind = stability.first_stable_iteration(setup, learner, initial, listeners)
            procedure = network_procedure(config, data, run_dir, model, rewind)
        yield procedure, learner, run_dir


def check_data(config: ExperimentConfig, data: Data) -> None:
    """Refuses inputs that the network is not made for, and batches that hold an example twice.

    Raises:
        UsageError: if inputs are no images or no tokens where the network takes those, or a
            batch is larger than the training set.
    """
    takes, rank, dtype = networks.takes(config.network), len(data.input_shape), data.train.dtype
    tokens = rank == 1 and dtype.kind in "iu"
    if {"images": rank == 3, "tokens": tokens, "anything": True}[takes] is False:
        raise UsageError(
            f"Expected {_INPUTS[takes]} for the network {config.network}. Received: "
            f"{dtype} of shape {data.input_shape}, dataset={data.name!r}.",
            arguments=("network", "dataset"),
        )
    if config.batch_size > len(data.train):
        raise UsageError(
            f"Expected batch_size of at most the {len(data.train):,} training examples of "
            f"{data.name}. Received: batch_size={config.batch_size}."
        )


def check_begun_with(run_dir: RunDir, data: Data) -> None:
    """Refuses data other than those that a run was begun with.

    Raises:
        UsageError: if their checksum is another.
    """
    recorded = run_dir.provenance().get("data", {}).get("checksum", data.checksum)
    if recorded != data.checksum:
        raise UsageError(
            f"Expected the data that {run_dir.path} was begun with (checksum {recorded}). "
            f"Received: other examples (checksum {data.checksum}). Use another folder.",
            arguments=("runs_dir",),
        )


def trainer_learner(setup: Setup) -> TrainerLearner:
    """Returns what trains with a `Trainer`."""
    config, model = setup.config, setup.model
    hooks = config.method.hooks(model, network_rates(config, model), config) or Hooks()
    trainer = Trainer(model, setup.data, config, setup.jit, hooks=hooks, step=setup.step)
    return TrainerLearner(trainer, setup.run_dir, setup.checkpoint_seconds, hooks)


def train_stages(
    procedure: Procedure, learner: Learner, run_dir: RunDir, listeners: Sequence[RunListener] = ()
) -> None:
    """Trains every stage of a procedure that is not done."""
    for listener in listeners:
        listener.run_started(procedure.plan[0])
    for stage in procedure.stages():
        if not procedure.done(stage):
            train_stage(procedure, learner, stage, listeners)
        if stage != ORIGIN:
            for listener in listeners:
                listener.stage_finished(stage, run_dir.summary(stage))


def train_stage(
    procedure: Procedure, learner: Learner, stage: Stage, listeners: Sequence[RunListener] = ()
) -> None:
    """Trains a stage of a procedure; what it needs must be done."""
    ticket = procedure.ticket(stage)
    procedure.finish(ticket, *learner.train(ticket, listeners))


def network_procedure(
    config: ExperimentConfig, data: Data, run_dir: RunDir, model: keras.Model, rewind: int = 0
) -> Procedure:
    """Returns the procedure of a config's network.

    Args:
        config: what to run.
        data: gives the shape of an input and the number of classes.
        run_dir: where the results go.
        model: the masked network at its initialization.
        rewind: iteration whose weights are the origin, where the method says none.

    Raises:
        UsageError: if pruning would empty a layer.
    """
    found = config.method.origin_iteration(config)

    def new_weights(*stream: str | int) -> Weights:
        return get_weights(new_model(config, data, *stream))

    return Procedure(
        config,
        run_dir,
        dense=get_masks(model),
        rates=network_rates(config, model),
        initial=lambda: new_weights("init"),
        new_weights=new_weights,
        rewind=rewind if found is None else found,
        network=DataDerivatives(lambda: new_model(config, data, "init"), data, config),
        units=units_of(config, model),
    )


def network_rates(config: ExperimentConfig, model: keras.Model) -> dict[str, float]:
    """Returns weight path -> fraction of its remaining weights pruned a level."""
    units = units_of(config, model)
    rates = units.shared(pruning.layer_rates(networks.groups(model), config.prune_rates()))
    return scaled_rates(config, get_masks(model), rates)


def units_of(config: ProcedureConfig, model: keras.Model) -> Units:
    """Returns what of a masked model is kept or pruned as one; masks what goes with kernels.

    Raises:
        UsageError: if there is no such granularity, or it finds no units in the model.
    """
    return GRANULARITIES.get(config.granularity)().units(model)


def new_model(config: ExperimentConfig, data: Data, *stream: str | int) -> keras.Model:
    """Returns the config's network, masked and dense, initialized from a stream.

    Args:
        config: network and seed.
        data: gives the shape of an input and the number of classes.
        *stream: name of the random stream, e.g. "init".

    Raises:
        UsageError: if there is no such network.
    """
    seed = stream_seed(config.seed, *stream)
    model = networks.build(
        config.network, data.image_shape, data.classes, seed, dropout_rate=config.dropout_rate
    )
    units_of(config, model)
    return model
