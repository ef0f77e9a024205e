"""What a file format is: how a model is written, loaded and timed.

The command, verification, sizes, latencies and the benchmark loop over formats. Modules of
formats import nothing large at their top: `--help` reads them, and so do the processes that
run files, where the files must work without lth_tf.
"""

import abc
import dataclasses
import functools
import pathlib
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from lth_tf.errors import RunError
from lth_tf.lazy import require

from ..arrays import Arrays

if TYPE_CHECKING:
    import keras

    from ..signature import Signature

DTYPES = ("float32", "float16", "int8")
"""What the weights of kernels can be stored as."""

CHOICES = {"optimize": ("latency", "size"), "runtime": ("any", "litert", "micro")}
"""What the other options of `WriteOptions` can be."""


@dataclasses.dataclass(frozen=True)
class Stored:
    """How a kernel is stored in a file.

    Attributes:
        shape: of the kernel in the file.
        nonzeros: weights that are not 0.
        bytes: what it takes.
        how: in words, e.g. "dense" or "sparse, unpacked at load".
    """

    shape: tuple[int, ...]
    nonzeros: int
    bytes: int
    how: str


@dataclasses.dataclass(frozen=True)
class WriteOptions:
    """How a file is written.

    Attributes:
        dtype: what its weights are stored as.
        examples: inputs that int8 ranges are chosen by, or None.
        batch_size: examples a call that the file is made for; None leaves it free.
        optimize: "latency" or "size", what decides where the two are at odds.
        runtime: what must be able to run it: "any", "litert" or "micro".
    """

    dtype: str = "float32"
    examples: Arrays | None = None
    batch_size: int | None = None
    optimize: str = "latency"
    runtime: str = "any"


class Runner:
    """A file, opened in a runtime.

    Args:
        run: inputs -> outputs.
        batch_size: the only batch size that the file takes, or None.
    """

    def __init__(self, run: Callable[[Arrays], Arrays], batch_size: int | None = None):
        self._run = run
        self.batch_size = batch_size

    def __call__(self, inputs: Arrays) -> Arrays:
        """Returns the outputs of a batch."""
        return self._run(inputs)

    def prepare(self, inputs: Arrays) -> Callable[[], Any]:
        """Returns the call that computes, to be timed."""
        return functools.partial(self._run, inputs)


@dataclasses.dataclass(frozen=True)
class Runtime:
    """Something that runs files.

    Attributes:
        name: what reports call it.
        open: path -> the file, ready to run; None if it is of a kind that is not run there.
        process: runtimes with the same number can be in one process.
    """

    name: str
    open: Callable[[str], Runner | None]
    process: int = 0


class Format(abc.ABC):
    """A file format.

    Attributes:
        name: what `--format` calls it.
        suffix: what names of its files end with.
        marker: a file in every folder of this format; "" if it is a file.
        dtypes: what weights can be stored as.
        runtimes: what its files must run in; the first one is timed.
        optional_runtimes: what files are run in if they are made for it, see `runtimes_of`.
        timed: whether its latency says anything.
        packages: what its runtimes need and lth_tf installs only if asked to.
    """

    name: str
    suffix: str
    marker: str = ""
    dtypes: tuple[str, ...] = DTYPES
    runtimes: tuple[Runtime, ...]
    optional_runtimes: tuple[Runtime, ...] = ()
    timed: bool = True
    packages: tuple[str, ...] = ()

    def check_installed(self) -> None:
        """Complains, before long work, of a runtime that is not there.

        Raises:
            MissingPackage: it names the extra to install.
        """
        require(*self.packages)

    @abc.abstractmethod
    def recognizes(self, path: pathlib.Path) -> bool:
        """Whether a file or folder that exists is of this format."""

    @abc.abstractmethod
    def write(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> list[Stored]:
        """Writes a plain model with zeros in its kernels; returns how these are stored."""

    def write_dense(
        self,
        model: "keras.Model",
        path: pathlib.Path,
        signature: "Signature",
        options: WriteOptions,
    ) -> None:
        """Writes what the same model takes if nobody makes use of its zeros.

        That is the same file unless the format makes use of them.
        """
        self.write(model, path, signature, options)

    def load(self, path: pathlib.Path) -> Runner:
        """Opens a file in this process, in its first runtime."""
        first = self.runtimes[0]
        runner = first.open(str(path))
        if runner is None:
            raise RunError(f"{first.name} is not there to open {path} in.")
        return runner

    def runtimes_of(self, options: WriteOptions) -> tuple[Runtime, ...]:
        """Returns what a file that was written like this is verified in."""
        return self.runtimes

    def needs_examples(self, dtype: str) -> bool:
        """Whether real inputs are needed to write this dtype."""
        return False

    def payload_bytes(self, model: "keras.Model", dtype: str) -> int | None:
        """Returns what the coded kernels take, if the format codes them itself."""
        return None

    def speed_caveats(self, model: "keras.Model", dtype: str) -> list[str]:
        """Returns where zeros do not make a file faster than the dense one, and why."""
        return []
