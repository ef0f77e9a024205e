"""The folder of a search.

    tune.json       what is searched, and how
    oracle.json     KerasTuner's state: the trials so far, what comes next
    dense/          run directory of the dense network that all trials are compared with
    trial_000/ ...  run directories of the trials
    locks/          held by the processes at work

The run directories are those of any experiment, for the report and the export.
"""

import contextlib
import json
import os
import pathlib
from collections.abc import Callable, Iterator
from typing import Any

from lth_tf import locks
from lth_tf.errors import UsageError, errors_of
from lth_tf.files import PARTIAL, delete_folder, read_json, write_json
from lth_tf.runs.run_dir import RunDir

FORMAT = 1


class Project:
    """The files of one search.

    Args:
        path: the folder; it need not exist.
    """

    def __init__(self, path: str | os.PathLike):
        self.path = pathlib.Path(path)

    @property
    def dense(self) -> RunDir:
        """The run directory of the dense network that all trials are compared with."""
        return RunDir(self.path / "dense")

    @property
    def oracle_file(self) -> pathlib.Path:
        """The file of the search's state."""
        return self.path / "oracle.json"

    def trial(self, trial_id: str) -> RunDir:
        """Returns the run directory of a trial, whatever number of zeros its id starts with."""
        return RunDir(self.path / f"trial_{int(trial_id):03d}")

    def claim(self, search: dict[str, Any]) -> None:
        """Makes the folder that of a search, or checks that it is.

        Args:
            search: name -> value of all that decides the trials' results.

        Raises:
            UsageError: if it is the folder of another search, or holds something else.
        """
        self._refuse_foreign()
        with self.lock("claim", waiting=lambda process: None):
            if not self._file.exists():
                write_json(self._file, {"format": FORMAT, **search})
        found = read_json(self._file)
        ours = json.loads(json.dumps({"format": FORMAT, **search}))
        different = [
            _difference(name, found.get(name), ours.get(name))
            for name in sorted(found.keys() | ours.keys())
            if found.get(name) != ours.get(name)
        ]
        if different:
            raise UsageError(
                f"Expected the search of {self._file}. Received another one: the file has "
                f"{'; '.join(different)}. Use another folder, or delete it to start again.",
                arguments=("runs_dir", "overwrite"),
            )

    def delete(self) -> None:
        """Deletes the folder if it is that of a search that nobody works on.

        Raises:
            UsageError: if it is none, or a process works on it.
        """
        if not self.path.exists():
            return
        self._refuse_foreign()
        with contextlib.ExitStack() as held:
            for file in sorted(self.path.glob("locks/*")):
                held.enter_context(self.lock(file.name))
            delete_folder(self.path)

    @contextlib.contextmanager
    def lock(self, name: str, waiting: Callable[[str], None] | None = None) -> Iterator[None]:
        """Holds a lock; a process that is killed gives it back.

        Args:
            name: what is locked.
            waiting: called with the id of the process that has the lock before it is
                waited for; None is not to wait.

        Raises:
            UsageError: if another process has the lock and it is not waited for.
        """
        with locks.lock(
            self.path / "locks" / name,
            expected="a search that no process works on",
            received=self.path,
            waiting=waiting,
        ):
            yield

    @property
    def _file(self) -> pathlib.Path:
        return self.path / "tune.json"

    def _refuse_foreign(self) -> None:
        with errors_of(self.path):
            files = {p.name for p in self.path.iterdir()} if self.path.exists() else set()
        # Another process may be about to make the folder that of a search.
        others = {name for name in files - {"locks"} if not name.endswith(PARTIAL)}
        if others and not self._file.exists():
            raise UsageError(
                f"Expected the folder of a search or an empty one. Received: {self.path}, which "
                f"holds {min(others)!r} and no tune.json. Choose another folder."
            )


def _difference(name: str, theirs: Any, ours: Any) -> str:
    if isinstance(theirs, dict) or isinstance(ours, dict):
        return f"another {name}"
    return f"{name}={theirs!r}, not {ours!r}"
