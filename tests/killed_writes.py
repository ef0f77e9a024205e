"""Writes once for every line that this takes, and is killed there.

    python killed_writes.py FOLDER CASE SIGNAL

CASE is "file", "folder", "delete", or "fallback": a folder where the file system cannot
exchange two. SIGNAL is SIGKILL, SIGTERM, or "exit", a SIGTERM that a handler turns into
SystemExit. Prints what was found after the kills as JSON.
"""

import json
import os
import pathlib
import signal
import sys

from lth_tf import files, locks

WATCHED = {files.__file__, locks.__file__}


def write(path, case, content):
    if case == "file":
        files.write_bytes(path, content)
        return
    with files.atomic_path(path, replaces="mark") as partial:
        partial.mkdir()
        (partial / "values").write_bytes(content)
        (partial / "mark").write_bytes(content)


def state(path, case):
    """Returns "gone", "old", "new" or "broken"."""
    if not path.exists():
        return "gone"
    parts = [path] if case == "file" else [path / "values", path / "mark"]
    contents = {part.read_bytes() if part.exists() else None for part in parts}
    if len(contents) != 1 or (case != "file" and len(os.listdir(path)) != 2):
        return "broken"
    return {b"old": "old", b"new": "new"}.get(contents.pop(), "broken")


def stop_at(line, stop):
    """Kills this process when it is about to run a line of the module, counted from 0."""
    steps = 0

    def trace(frame, event, argument):
        nonlocal steps
        if frame.f_code.co_filename not in WATCHED:
            return None
        if event in ("line", "return"):
            if steps == line:
                sys.settrace(None)
                os.kill(os.getpid(), stop)
            steps += 1
        return trace

    sys.settrace(trace)


def killed(path, case, stop, line):
    """Writes in a process that is killed at a line; returns False if it ended before that."""
    child = os.fork()
    if child == 0:
        try:
            if stop == "exit":
                signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
            stop_at(line, signal.SIGTERM if stop == "exit" else getattr(signal, stop))
            if case == "delete":
                files.delete_folder(path)
            else:
                write(path, case, b"new")
        except SystemExit:
            os._exit(143)
        except BaseException:
            os._exit(1)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    assert code in (0, 143, -signal.SIGKILL, -signal.SIGTERM), code
    return code != 0


def main(folder, case, stop):
    path = pathlib.Path(folder, "thing")
    os.fsync = lambda file: None  # What is killed is a process, not the machine.
    if case == "fallback":

        def cannot(one, other):
            raise OSError(22, "Invalid argument")

        files._exchange = cannot
    states, leftovers = [], set()
    line = 0
    while True:
        write(path, case, b"old")
        ended = not killed(path, case, stop, line)
        found = state(path, case)
        if found == "gone" and case != "delete":
            # The next writer, that writes nothing.
            with files.atomic_path(path, replaces="mark"):
                pass
            found = f"{state(path, case)}, put back"
        states.append(found)
        write(path, case, b"old")
        leftovers |= {name for name in os.listdir(folder) if name != "thing"}
        if ended:
            break
        line += 1
    print(json.dumps({"kills": line, "states": states, "leftovers": sorted(leftovers)}))


if __name__ == "__main__":
    main(*sys.argv[1:])
