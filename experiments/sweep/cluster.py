"""Ray: started on this machine or joined, and how work gets to its machines."""

import contextlib
import dataclasses
import logging
import os
import re
import socket
from collections.abc import Iterator, Sequence
from typing import Any

from lth_tf.cli import process
from lth_tf.errors import RunError, UsageError, one_line
from lth_tf.lazy import lazy_imports
from lth_tf.runs.parcel import Parcel
from lth_tf.runs.stage import Stage

from . import worker
from .desk import Desk
from .work import News, Work

with lazy_imports():
    import ray
    from ray.util import scheduling_strategies


@dataclasses.dataclass
class Cluster:
    """The machines of a Ray cluster, as far as a sweep asks of them.

    Args:
        cores: what a training takes.
        gpus: the same of accelerators.
        jobs: trainings at a time; 0 for as many as there is room for.
    """

    cores: int
    gpus: float = 0.0
    jobs: int = 0

    def __post_init__(self) -> None:
        affinity = scheduling_strategies.NodeAffinitySchedulingStrategy
        home = ray.get_runtime_context().get_node_id()
        # Nowhere else, even if this machine is busy: with another one it would be gone.
        here = affinity(home, soft=False)
        desk = ray.remote(Desk).options(num_cpus=0, scheduling_strategy=here)
        self._desk: Any = desk.remote()
        takes: dict[str, Any] = {"num_cpus": self.cores, "num_gpus": self.gpus, "max_retries": 0}
        self._train = ray.remote(worker.train).options(**takes)
        # Its data are asked for as long as the run goes on, and read again where they are lost.
        self._plan: Any = ray.remote(worker.plan).options(
            num_returns=2,
            scheduling_strategy=affinity(home, soft=True),
            **{**takes, "max_retries": 3},
        )

    def places(self) -> int:
        """Returns how many trainings to start at a time; 1 where machines are yet to come."""
        return max(1, self.room())

    def room(self) -> int:
        """Returns how many trainings there is room for on the machines there are now."""
        found = 0
        for node in ray.nodes():
            if node["Alive"]:
                has = node["Resources"]
                by_gpus = int(has.get("GPU", 0) / self.gpus) if self.gpus else int(1e9)
                found += min(int(has.get("CPU", 0) / self.cores), by_gpus)
        return min(found, self.jobs or found)

    def machines(self) -> int:
        """Returns how many machines there are now."""
        return sum(node["Alive"] for node in ray.nodes())

    def plan(self, work: Work) -> tuple[Any, Any]:
        """Starts `worker.plan`, where the driver is; returns what stands for plan and data."""
        return tuple(self._plan.remote(work))

    def train(self, work: Work, stage: Stage, sent: Parcel, data: Any) -> Any:
        """Starts `worker.train` where there is room; returns what stands for its result."""
        return self._train.remote(work, stage, sent, data, self._desk)

    def ended(self, tasks: Sequence[Any], seconds: float) -> list[Any]:
        """Returns those tasks that have ended, after some time at the latest."""
        if not tasks:
            return []
        return ray.wait(list(tasks), num_returns=1, timeout=seconds, fetch_local=False)[0]

    def result(self, task: Any) -> Any:
        """Returns what a task that has ended returned.

        Raises:
            RunError: if it failed, or its process or machine is gone.
        """
        try:
            return ray.get(task)
        except ray.exceptions.RayTaskError as error:
            raise RunError(one_line(f"{type(error.cause).__name__}: {error.cause}")) from error
        except ray.exceptions.RayError as error:
            raise RunError(_gone(error)) from error

    def news(self) -> dict[str, News]:
        """Returns training -> what was heard of it since the last call."""
        return self._at_desk("fetch")

    def stop(self) -> None:
        """Tells all trainings to keep what they have trained and stop."""
        self._at_desk("stop")

    def _at_desk(self, call: str) -> Any:
        try:
            return ray.get(getattr(self._desk, call).remote())
        except ray.exceptions.RayError as error:
            missing = re.search(r"ModuleNotFoundError: .*", str(error))
            why = missing[0] if missing else _gone(error)
            raise RunError(
                "Expected a cluster of machines that lth_tf is installed on. Received: "
                f"{one_line(why)}. What was trained is kept."
            ) from error


@contextlib.contextmanager
def connected(address: str, cores: int, gpus: float, jobs: int) -> Iterator[Cluster]:
    """Yields a cluster: the one at an address, or one of this machine alone.

    Args:
        address: "host:port", "auto" for the one that this machine is part of, "" to start one.
        cores: what a training takes.
        gpus: the same of accelerators.
        jobs: trainings at a time; 0 for as many as there is room for.

    Raises:
        UsageError: if there is no such cluster, or a training takes more than there is.
    """
    here = len(os.sched_getaffinity(0))
    if not address and cores > here:
        raise UsageError(
            f"Expected cpus of at most the {here} of this machine. Received: cpus={cores}."
        )
    if "://" in address:
        raise UsageError(
            "Expected the address of a cluster that this machine is part of, as host:port. "
            f"Received: address={address!r}. Run lth sweep on one of its machines."
        )
    _check_answers(address)
    # Its processes import this package from where it lies, and send nothing to anybody.
    os.environ.update(process.environment(RAY_USAGE_STATS_ENABLED="0"))
    more: dict[str, Any] = (
        {"num_cpus": jobs * cores or here, "include_dashboard": False} if not address else {}
    )
    try:
        ray.init(
            address=address or "local",
            log_to_driver=False,
            logging_level=logging.CRITICAL,
            **more,
        )
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise _no_cluster(address, error) from error
    try:
        found = Cluster(cores, gpus, jobs)
        if not address and not found.room():
            raise UsageError(
                f"Expected gpus of at most those of this machine, of which Ray finds "
                f"{ray.cluster_resources().get('GPU', 0):g}. Received: gpus={gpus:g}."
            )
        yield found
    finally:
        ray.shutdown()


def _check_answers(address: str) -> None:
    """Refuses the address of a machine that does not answer: Ray would try for minutes."""
    host, _, port = address.rpartition(":")
    if not port.isdigit():
        return
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout=10).close()
    except (OSError, OverflowError) as error:
        raise _no_cluster(address, error) from error


def _no_cluster(address: str, error: Exception) -> UsageError:
    return UsageError(
        f"Expected a Ray cluster at {address or 'this machine'}. "
        f"Received: {one_line(error).rstrip('.')}.",
        arguments=("address",),
    )


def _gone(error: Exception) -> str:
    """Returns why a task has no result, in a line."""
    kinds = {
        "NodeDiedError": "its machine is gone",
        "WorkerCrashedError": "its process is gone",
        "OutOfMemoryError": "its machine was out of memory",
        "ObjectLostError": "its machine is gone",
    }
    name = type(error).__name__
    return kinds.get(name) or f"{name}: {one_line(error)}"
