"""What KerasTuner's environment variables make of a process."""

import os

from lth_tf.errors import UsageError

_NAMES = ("KERASTUNER_ORACLE_IP", "KERASTUNER_ORACLE_PORT", "KERASTUNER_TUNER_ID")


def role() -> str:
    """Returns "single", "chief" or "worker".

    Raises:
        UsageError: if some of the variables are missing.
    """
    if _NAMES[0] not in os.environ:
        return "single"
    missing = [name for name in _NAMES if not os.environ.get(name)]
    if missing:
        raise UsageError(
            f"Expected {', '.join(_NAMES)} together in the environment. "
            f"Received: no {' and no '.join(missing)}."
        )
    # As KerasTuner tells them apart.
    return "chief" if "chief" in os.environ["KERASTUNER_TUNER_ID"] else "worker"


def address() -> str:
    """Returns where the chief listens: "ip:port"."""
    return ":".join(os.environ[name] for name in _NAMES[:2])
