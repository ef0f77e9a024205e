"""Which iteration the origin of a run is, where that was found out and not asked for."""

from typing import Any

from lth_tf.files import read_json, reading, write_json
from lth_tf.runs.run_dir import RunDir

FILE = "stability.json"


def record(run_dir: RunDir, iteration: int, barriers: dict[str, float]) -> None:
    """Writes the iteration that a run rewinds to.

    Args:
        run_dir: the run.
        iteration: the first of those tried at which the network is stable.
        barriers: iteration -> error barrier, a fraction.
    """
    write_json(run_dir.path / FILE, {"rewind_iteration": iteration, "barriers": barriers})


def recorded(run_dir: RunDir) -> int | None:
    """Returns the iteration that was recorded, or None.

    Raises:
        UsageError: if the file is damaged.
    """
    file = run_dir.path / FILE
    if not file.exists():
        return None
    with reading(file):
        found: Any = read_json(file)["rewind_iteration"]
        if type(found) is not int or found < 0:
            raise ValueError(f"rewind_iteration is {found!r}")
    return found


def iteration_of(run_dir: RunDir) -> int:
    """Returns the iteration whose weights are a run's origin; 0 is initialization.

    Raises:
        UsageError: if it is no run, or a file is damaged.
    """
    config = run_dir.config()
    asked = config.method.origin_iteration(config)
    return (recorded(run_dir) or 0) if asked is None else asked
