"""What a run was made on: the part of config.json beside the config."""

import importlib.metadata
import os
import pathlib
import subprocess
import sys
import time
from typing import Any

from lth_tf.lazy import lazy_imports

with lazy_imports():
    import keras
    import tensorflow as tf

_ROOT = pathlib.Path(__file__).resolve().parents[2]


def provenance(**more: Any) -> dict[str, Any]:
    """Returns what a run is made on: arguments, versions, device, threads, time, and more.

    Args:
        **more: added to it, e.g. `data=data_record(data)`.
    """
    threads = len(os.sched_getaffinity(0))
    return {
        "argv": sys.argv,
        "git_commit": git_commit(),
        "versions": versions(),
        "device": f"{_device()} ({threads} thread{'s' if threads > 1 else ''})",
        "threads": threads,
        "created": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        **more,
    }


def data_record(data: Any, data_dir: str = "") -> dict[str, Any]:
    """Returns what a run's network is made for.

    Args:
        data: a `datasets.Data`.
        data_dir: TFDS folder they were read from, "" for TFDS's own choice.
    """
    return {
        "image_shape": list(data.image_shape),
        "classes": data.classes,
        "divisor": data.preprocessing.divisor,
        **({"mean": data.preprocessing.mean} if data.preprocessing.mean != 0.0 else {}),
        "checksum": data.checksum,
        "data_dir": os.path.abspath(data_dir) if data_dir else "",
        **({"input": "stream"} if data.is_streamed else {}),
    }


def versions(*packages: str) -> dict[str, str]:
    """Returns package -> version, of those that are installed."""
    found = {}
    for name in ("lth_tf", "keras", keras.backend.backend(), "numpy", *packages):
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            continue
    return found


def git_commit(root: pathlib.Path = _ROOT) -> str:
    """Returns the commit of the checkout that lth_tf is run from.

    "" if it is installed: the folder may lie in a repository, but that is the user's.

    Args:
        root: the folder that the package lies in.
    """
    if _git(root, "rev-parse", "--show-toplevel") != str(root):
        return ""
    # A repository that has a copy of the package in it does not have this file too.
    ours = _git(root, "grep", "-e", "^name = lth_tf$", "HEAD", "--", "setup.cfg")
    return _git(root, "rev-parse", "HEAD") if ours else ""


def described(about: dict[str, Any]) -> str:
    """Returns device and versions in words, whatever a record has of them."""
    packages = ", ".join(f"{name} {version}" for name, version in about.get("versions", {}).items())
    return "; ".join(str(part) for part in (about.get("device"), packages) if part)


def _git(folder: pathlib.Path, *arguments: str) -> str:
    """Returns what git prints, "" if it fails."""
    # A hook that starts a program sets variables that would lead to its own repository.
    environment = {k: v for k, v in os.environ.items() if not k.startswith("GIT_")}
    try:
        done = subprocess.run(
            ["git", *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    except OSError:  # no git on this machine
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""


def _device() -> str:
    if keras.backend.backend() != "tensorflow":
        return keras.distribution.list_devices()[0].partition(":")[0].upper()
    # Keras would make the devices ready for use, after which they cannot be configured.
    return "GPU" if tf.config.list_physical_devices("GPU") else "CPU"
