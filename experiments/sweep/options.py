"""The flags of a sweep beside those of the experiment."""

import dataclasses
from typing import Any

from lth_tf.config import RunOptions
from lth_tf.options import Options, option, option_of


def _same(name: str) -> Any:
    return option_of(RunOptions, name)


@dataclasses.dataclass(frozen=True)
class SweepOptions(Options):
    """Where and how a sweep is run; nothing of it enters a run's name."""

    address: str = option(
        "",
        "Ray cluster to train on, host:port or auto. Default: one of this machine, started here.",
    )
    cpus: int = option(1, "Cores of a training; its threads have no others.", minimum=1)
    gpus: float = option(0.0, "GPUs of a training; two share one with 0.5.", minimum=0.0)
    jobs: int = option(0, "Trainings at a time; 0 for as many as there is room for.", minimum=0)
    retries: int = option(
        3, "How often a training is tried again that failed, or whose machine is gone.", minimum=0
    )
    recipe: str = option(
        "", "Train the paper's recipe in place of one experiment.", choices=("", "paper")
    )
    only: tuple[str, ...] = option((), "Figures of the recipe, comma-separated. Default: all.")
    dry_run: bool = option(False, "Print what would be trained, and train nothing.")
    runs_dir: str = _same("runs_dir")
    data_dir: str = _same("data_dir")
    input: str = _same("input")
    jit: str = _same("jit")
    step: str = _same("step")
    deterministic: bool = _same("deterministic")
    checkpoint_seconds: float = _same("checkpoint_seconds")
    overwrite: bool = _same("overwrite")

    def run_options(self) -> RunOptions:
        """Returns how each run is trained."""
        names = {field.name for field in dataclasses.fields(RunOptions)} - {"jobs", "dry_run"}
        own = {field.name for field in dataclasses.fields(self)}
        return RunOptions(**{name: getattr(self, name) for name in names & own})
