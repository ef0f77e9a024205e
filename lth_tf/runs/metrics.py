"""metrics.jsonl: one evaluation a line, appended while a stage is trained."""

import json
import pathlib
from collections.abc import Iterable, Sequence
from typing import Any

from lth_tf.errors import UsageError, errors_of
from lth_tf.files import damaged, read_text, write_bytes
from lth_tf.runs.stage import Stage


def read(path: pathlib.Path) -> list[dict[str, Any]]:
    """Returns every evaluation so far; a torn last line is left out.

    Raises:
        UsageError: if another line is damaged.
    """
    if not path.exists():
        return []
    lines = read_text(path, errors="replace").splitlines()
    found = []
    for number, line in enumerate(lines, 1):
        try:
            found.append(_record(line))
        except Exception as error:  # whatever the parser raises
            if number < len(lines):
                raise UsageError(damaged(path, f"line {number}: {error}")) from error
    return found


def append(path: pathlib.Path, stage: Stage, evaluation: dict[str, Any]) -> None:
    """Adds an evaluation of a stage."""
    record = {"level": stage.level, "control": stage.control, **evaluation}
    with errors_of(path), open(path, "a") as file:
        file.write(json.dumps(record) + "\n")


def forget(path: pathlib.Path, stage: Stage, after: int) -> None:
    """Drops a stage's evaluations after an iteration: they will be made again."""
    kept = [
        record
        for record in read(path)
        if _stage_of(record) != stage or record["iteration"] <= after
    ]
    _write(path, kept)


def of_stage(path: pathlib.Path, stage: Stage) -> list[dict[str, Any]]:
    """Returns the evaluations of a stage."""
    return [record for record in read(path) if _stage_of(record) == stage]


def put(
    path: pathlib.Path, stage: Stage, records: list[dict[str, Any]], order: Sequence[Stage]
) -> None:
    """Replaces the evaluations of a stage, and puts the stages in order.

    Args:
        path: the file; it need not be there.
        stage: whose evaluations they are.
        records: as `of_stage` returns them.
        order: the stages; others come first.
    """
    place = {each: number for number, each in enumerate(order)}
    kept = [record for record in read(path) if _stage_of(record) != stage]
    _write(path, sorted([*kept, *records], key=lambda r: place.get(_stage_of(r), -1)))


def _stage_of(record: dict[str, Any]) -> Stage:
    return Stage(record["level"], record["control"])


def _write(path: pathlib.Path, records: Iterable[dict[str, Any]]) -> None:
    write_bytes(path, "".join(json.dumps(record) + "\n" for record in records).encode())


def _record(line: str) -> dict[str, Any]:
    record = json.loads(line)
    for name, kind in (("level", int), ("control", str), ("iteration", int)):
        if type(record[name]) is not kind:
            raise ValueError(f"{name} is {record[name]!r}")
    return record
