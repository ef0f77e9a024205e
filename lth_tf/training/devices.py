"""How accelerators are used; a machine without one is left as it is."""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator

import tensorflow as tf

from lth_tf.errors import RunError, UsageError, one_line
from lth_tf.runs.following import Following
from lth_tf.runs.run_dir import RunDir

DEVICES = ("one", "mirrored", "multi_worker")


def configure(deterministic: bool = True) -> None:
    """Lets memory of GPUs grow as it is needed, and makes their operations deterministic.

    To be called before the first tensor: memory is allocated then, and a later call leaves
    it. On a CPU the same seed gives the same bits without it.

    Args:
        deterministic: the same seed gives the same bits; False gives that up for speed.
    """
    accelerators = tf.config.list_physical_devices("GPU")
    for device in accelerators:
        try:
            tf.config.experimental.set_memory_growth(device, True)
        except RuntimeError:  # already in use, with whatever it was given
            break
    if accelerators and deterministic:
        tf.config.experimental.enable_op_determinism()


@functools.cache
def strategy(devices: str) -> tf.distribute.Strategy:
    """Returns what variables are made under; to be called before the first tensor.

    Args:
        devices: "one"; "mirrored", all accelerators of this machine, or all logical CPUs if it has
            none; "multi_worker", all machines that TF_CONFIG names, each of which runs the same
            program.

    Raises:
        UsageError: if there is no such choice, or TF_CONFIG names no workers.
    """
    if devices == "one":
        return tf.distribute.get_strategy()
    if devices == "mirrored":
        found = tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("CPU")
        return tf.distribute.MirroredStrategy([device.name for device in found])
    if devices != "multi_worker":
        raise UsageError(f"Expected devices to be one of {DEVICES}. Received: devices={devices!r}.")
    workers = tf.distribute.cluster_resolver.TFConfigClusterResolver()
    if "worker" not in workers.cluster_spec().as_dict():
        raise UsageError(
            "Expected TF_CONFIG to name the workers and this one's task. Received: "
            f"TF_CONFIG={workers.cluster_spec().as_dict()}.",
            arguments=("devices",),
        )
    return tf.distribute.MultiWorkerMirroredStrategy(workers)


@contextlib.contextmanager
def workers_of(devices: str) -> Iterator[Callable[[], contextlib.AbstractContextManager]]:
    """Yields the scope that models and Trainers are made in which train on these devices.

    Raises:
        UsageError: see `strategy`.
        RunError: if another worker is gone.
    """
    try:
        yield strategy(devices).scope
    except tf.errors.OpError as error:
        if devices != "multi_worker":
            raise
        raise RunError(
            f"Lost another worker ({one_line(error)[:100]}). Start all of them again: the run goes "
            "on from its last checkpoint."
        ) from error


def run_dir_of(path: str | os.PathLike, devices: str) -> RunDir:
    """Returns a run directory that this process writes to, or that the chief of all does."""
    if devices == "multi_worker" and strategy(devices).cluster_resolver.task_id:
        return Following(path)
    return RunDir(path)
