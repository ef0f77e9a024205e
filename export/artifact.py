"""What an export has written."""

import dataclasses
import pathlib

from .formats import Stored
from .size import SizeReport
from .timing import Latency
from .verification import Verification


@dataclasses.dataclass(frozen=True)
class Artifact:
    """A file that was written and verified.

    Attributes:
        path: the file or folder.
        kind: name of the format.
        dtype: what its weights are stored as.
        size: its sizes; of the dense file 0 if that could not be written.
        verification: how close it is to the model.
        latency: its latency, if it was measured.
        payload_bytes: what the kernels take in a SavedModel before deflate, else None.
        stored: how its kernels are stored.
        remarks: what is worth telling of it.
    """

    path: pathlib.Path
    kind: str
    dtype: str
    size: SizeReport
    verification: Verification
    latency: Latency | None
    payload_bytes: int | None = None
    stored: tuple[Stored, ...] = ()
    remarks: tuple[str, ...] = ()
