"""The Trainer beside the same training in other frameworks, each in a process of its own."""

import contextlib
import pkgutil
import subprocess
from collections.abc import Callable, Iterator

from lth_tf.cli import process

from .. import peers as programs
from . import Options, Result, in_turn, register


@register("peers")
def peers(options: Options) -> Iterator[Result]:
    """Measures LeNet with validation every 100 and test every 500 iterations, in turn.

    Peers that are not installed are left out with one line. All processes are there all the
    time; those whose turn it is not wait for a line.
    """
    modules = [module.name for module in pkgutil.iter_modules(programs.__path__)]
    # What the others are compared with comes first.
    modules.sort(key=lambda name: name != "lth_trainer")
    with contextlib.ExitStack() as stack:
        rates = {}
        for name in modules:
            child = stack.enter_context(_process(f"{programs.__name__}.{name}"))
            if process.piped(child.stdout).readline().strip() == programs.READY:
                rates[name] = _rate(child, options.seconds)
            else:
                print(f"{name} is left out: {_last_line(child)}", flush=True)
        yield in_turn("lenet: training with validation and test", rates, options.rounds)


@contextlib.contextmanager
def _process(module: str) -> Iterator[subprocess.Popen]:
    child = subprocess.Popen(
        process.command(module),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=process.environment(),
    )
    try:
        yield child
    finally:
        child.kill()
        child.wait()
        for stream in (child.stdin, child.stdout, child.stderr):
            with contextlib.suppress(BrokenPipeError):
                process.piped(stream).close()


def _rate(child: subprocess.Popen, seconds: float) -> Callable[[], float]:
    asked, told = process.piped(child.stdin), process.piped(child.stdout)

    def rate() -> float:
        asked.write(f"{seconds}\n")
        asked.flush()
        return float(told.readline())

    return rate


def _last_line(child: subprocess.Popen) -> str:
    lines = process.piped(child.stderr).read().strip().splitlines()
    return lines[-1] if lines else f"it ended with {child.wait()}"
