"""Programs that stay once they are started: what they import is imported once."""

import contextlib
import os
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator

from lth_tf.cli.process import ProgramError, command, environment, failure, piped, run_program

ANSWERED, FAILED = "", "!"  # lines that end an answer

_kept: dict[tuple[str, ...], "_Kept"] | None = None


@contextlib.contextmanager
def programs_kept() -> Iterator[None]:
    """Inside the block `ask` starts each program once; they end with the block."""
    global _kept
    outer = _kept
    _kept = {} if outer is None else outer
    try:
        yield
    finally:
        if outer is None:
            for program in _kept.values():
                program.close()
        _kept = outer


def ask(module: str, action: str, request: str, use: str = "") -> str:
    """Runs `MODULE ACTION REQUEST` as a program, in a process that may have answered others.

    Outside of `programs_kept` it is a process of its own. Inside, the program is started as
    `MODULE serve ACTION`, which calls `serve`; if it crashes another one is started for the
    next request.

    Args:
        module: its dotted name.
        action: what it does.
        request: its argument, one line.
        use: requests with different ones never share a process.

    Returns:
        What it prints.

    Raises:
        ProgramError: if it fails or crashes.
    """
    if _kept is None:
        return run_program(module, action, request)
    key = (module, action, use)
    if key not in _kept:
        _kept[key] = _Kept(module, "serve", action)
    try:
        return _kept[key].ask(request)
    except ProgramError:
        if _kept[key].ended():
            _kept.pop(key).close()
        raise
    except BaseException:
        # Whatever it was interrupted in, the next answer would not be that of the next request.
        _kept.pop(key).close()
        raise


def serve(answer: Callable[[str], None]) -> None:
    """Answers the requests on stdin until it ends: what a kept program does.

    Args:
        answer: is given a request, and prints; what it raises fails that request alone.
    """
    for line in sys.stdin:
        ended = ANSWERED
        try:
            answer(line.rstrip("\n"))
        except Exception:
            traceback.print_exc()
            ended = FAILED
        print(ended, flush=True)


class _Kept:
    """A started program.

    Args:
        module: its dotted name.
        *arguments: its arguments.
    """

    def __init__(self, module: str, *arguments: str):
        self._stderr = tempfile.TemporaryFile()
        self._child = subprocess.Popen(
            command(module, *arguments),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._stderr,
            text=True,
            env=environment(),
        )

    def ask(self, request: str) -> str:
        """Returns the answer to a request."""
        asked, told = piped(self._child.stdin), piped(self._child.stdout)
        printed: list[str] = []
        begin = os.fstat(self._stderr.fileno()).st_size
        with contextlib.suppress(BrokenPipeError):  # it has ended; why is said below
            asked.write(f"{request}\n")
            asked.flush()
        for line in told:
            if line.rstrip("\n") == ANSWERED:
                return "".join(printed)
            if line.rstrip("\n") == FAILED:
                code = 1
                break
            printed.append(line)
        else:
            code = self._child.wait()
        size = os.fstat(self._stderr.fileno()).st_size - begin
        # Its position is the program's too, and stays.
        stderr = os.pread(self._stderr.fileno(), size, begin).decode(errors="replace")
        raise ProgramError(failure(code, stderr), "".join(printed))

    def ended(self) -> bool:
        """Whether the program has ended."""
        return self._child.poll() is not None

    def close(self) -> None:
        """Ends the program."""
        self._child.kill()
        for stream in (piped(self._child.stdin), piped(self._child.stdout), self._stderr):
            with contextlib.suppress(OSError):
                stream.close()
        self._child.wait()
