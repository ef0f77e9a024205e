"""What a machine does for a sweep: says what a run consists of, trains a stage of it.

Everything lies in a folder of this machine alone while a stage is trained; what it is made from
is sent along, and what it comes to is sent back. The process goes on with the next stage: the
network of a run and its compiled loop are kept for it.
"""

import contextlib
import dataclasses
import functools
import io
import os
import pathlib
import signal
import tempfile
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import numpy as np

import lth_tf
from lth_tf import signals
from lth_tf.cli import tf_logging
from lth_tf.config import ExperimentConfig
from lth_tf.errors import RunError, UsageError
from lth_tf.lazy import lazy_imports
from lth_tf.runs import parcel, rewinding
from lth_tf.runs.history import Evaluation
from lth_tf.runs.parcel import Parcel
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.listener import RunListener

from . import cores
from .work import Failed, Plan, Stopped, Trained, Work

with lazy_imports():
    import ray

    from lth_tf import tensorflow_internals
    from lth_tf.tickets import find

    from .. import cli

if TYPE_CHECKING:
    from lth_tf.datasets import Data
    from lth_tf.tickets.learner import Learner
    from lth_tf.tickets.procedure import Procedure

_SECONDS = 1.0  # between two reports of how far a training is


def plan(work: Work) -> "tuple[Plan | Failed, Data | None]":
    """Says what a run consists of, and reads its data.

    Returns:
        The plan, and the data for all machines; None of data that are read while a network trains.
    """
    try:
        return _plan(work)
    except (UsageError, RunError) as error:
        return _failed(error), None


def train(work: Work, stage: Stage, sent: Parcel, data: "Data | None", desk: Any) -> Trained:
    """Trains a stage, and returns what it came to.

    Args:
        work: the run it is of.
        stage: which one.
        sent: what it is made from.
        data: what is trained on; None to read them here.
        desk: hears of it meanwhile.
    """
    run_dir = _run_dir()
    training = name_of(work.path, stage)
    try:
        _begin(work)
        run_dir.kept = lambda: ray.get(
            desk.keep.remote(training, parcel.of_checkpoint(run_dir, stage))
        )
        report = _Report(lambda iteration: ray.get(desk.report.remote(training, iteration)))
        # Before it is known that nobody else is at work there.
        with signals.raised(), run_dir.writing(work.experiment(), {"data": work.data}):
            parcel.put(run_dir, stage, sent, [])
            procedure, learner = _session(work, data)
            find.train_stage(procedure, learner, stage, [report])
            return parcel.of_finished(run_dir, stage)
    except signals.Stopped:
        return Stopped()
    except (UsageError, RunError) as error:
        return _failed(error)
    finally:
        run_dir.delete()


def name_of(path: str, stage: Stage) -> str:
    """Returns what a training is called at the desk."""
    return f"{path}/{stage}"


class _Report(RunListener):
    """Tells the desk how far a training is; stops it as a signal would, if that says so."""

    def __init__(self, tell: Callable[[int], bool]):
        self._tell = tell
        self._told = 0.0

    def stage_started(self, stage: Stage, density: float, iteration: int) -> None:
        """Tells where it begins."""
        self._tell(iteration)

    def evaluated(self, stage: Stage, evaluation: Evaluation) -> None:
        """Tells how far it is."""
        if time.monotonic() - self._told < _SECONDS:
            return
        self._told = time.monotonic()
        if self._tell(evaluation.iteration):
            signal.raise_signal(signal.SIGTERM)


class _RunDir(RunDir):
    """A run directory whose checkpoints are sent on.

    Attributes:
        kept: called after each.
    """

    kept: Callable[[], object]

    def save_progress(self, stage: Stage, state: dict[str, np.ndarray]) -> None:
        """Writes a checkpoint inside a running stage, and sends it."""
        super().save_progress(stage, state)
        self.kept()


@functools.cache
def _run_dir() -> _RunDir:
    """Returns the folder of this process, and deletes those of processes that are gone."""
    folder = pathlib.Path(tempfile.gettempdir(), f"lth_tf_sweep_{os.getuid()}")
    folder.mkdir(mode=0o700, exist_ok=True)
    for former in folder.iterdir():
        with contextlib.suppress(UsageError):  # another process is at work there
            RunDir(former).delete()
    return _RunDir(folder / str(os.getpid()))


@dataclasses.dataclass
class _Session:
    """What is kept between two stages of a run."""

    work: Work
    procedure: "Procedure"
    learner: "Learner"
    stack: contextlib.ExitStack


_sessions: list[_Session] = []


def _session(work: Work, data: "Data | None") -> "tuple[Procedure, Learner]":
    """Returns what trains a run's stages; one run at a time, for the memory it takes."""
    if not _sessions or _sessions[0].work != work:
        while _sessions:
            _sessions.pop().stack.close()
        options = work.options
        stack = contextlib.ExitStack()
        stack.enter_context(tensorflow_internals.released_functions())
        procedure, learner, _ = stack.enter_context(
            find.prepared(
                work.experiment(),
                cli.load_data(work.experiment(), options) if data is None else data,
                _run_dir(),
                jit=options.jit,
                step=options.step,
                deterministic=options.deterministic,
                checkpoint_seconds=options.checkpoint_seconds,
            )
        )
        _sessions.append(_Session(work, procedure, learner, stack))
    return _sessions[0].procedure, _sessions[0].learner


def _begin(work: Work) -> None:
    """Makes this process ready for TensorFlow.

    Raises:
        RunError: if another version of lth_tf is installed here.
    """
    if work.version != lth_tf.__version__:
        raise RunError(
            f"Expected lth_tf {work.version} on every machine. Received: {lth_tf.__version__} on "
            f"{os.uname().nodename}."
        )
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    cores.take(work.cores)
    tf_logging.import_tensorflow()


def _plan(work: Work) -> "tuple[Plan, Data | None]":
    _begin(work)
    config, run_dir = work.experiment(), RunDir(work.path)
    notes = io.StringIO()
    with contextlib.redirect_stdout(notes):
        data = cli.load_data(config, work.options)
        config = config.replace(levels=cli.last_level(config, data))
    if (run_dir.path / "config.json").exists() and not work.options.overwrite:
        find.check_begun_with(run_dir, data)
    model = find.new_model(config, data, "init")
    procedure = find.network_procedure(config, data, run_dir, model, _rewind(config, run_dir))
    found = Plan(
        config.levels,
        {stage: procedure.needs(stage) for stage in procedure.stages()},
        cli.about_run(data, work.options) | config.method.provenance(),
        notes.getvalue(),
    )
    return found, None if data.is_streamed else data


def _rewind(config: ExperimentConfig, run_dir: RunDir) -> int:
    """Returns the iteration to rewind to.

    Raises:
        UsageError: if it is to be found out, which takes trainings that are no stages.
    """
    asked = config.method.origin_iteration(config)
    found = rewinding.recorded(run_dir) if asked is None else asked
    if found is None:
        raise UsageError(
            "Expected a rewind iteration that is known. Received: rewind=auto in a run that has "
            f"not found it. Run {run_dir.path} with its own program and --levels=0 first."
        )
    return found


def _failed(error: UsageError | RunError) -> Failed:
    flags = ", ".join(f"--{name}" for name in error.arguments)
    return Failed(f"{error}{flags and f' See {flags}.'}")
