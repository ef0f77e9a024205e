"""Damaged and hostile files: one line that names the file, whatever is in them."""

import collections
import io
import json
import os
import pathlib
import shutil
import zipfile

import keras
import numpy as np
import pytest

import lth_tf
from experiments import results
from experiments.report import ReportOptions, report
from lth_tf.errors import RunError, UsageError
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

# Kinds that JSON has, at their extremes.
VALUES = [
    None, True, -1, 0, 3.5, 1e308, float("nan"), float("inf"), 10**400, "", "x", "../../etc/passwd",
    [], {}, [[[]]], {"a": {"b": []}},
]  # fmt: skip


def bytes_flipped(file, random):
    content = bytearray(file.read_bytes())
    for _ in range(random.integers(1, 9)):
        if content:
            content[random.integers(len(content))] ^= 1 << random.integers(8)
    file.write_bytes(content)


def cut(file, random):
    content = file.read_bytes()
    file.write_bytes(content[: random.integers(len(content) + 1)])


def repeated(file, random):
    content = file.read_bytes()
    at = random.integers(len(content) + 1)
    file.write_bytes(
        content[:at] + content[at // 2 : at] * int(random.integers(1, 4)) + content[at:]
    )


def noise(file, random):
    file.write_bytes(random.bytes(int(random.integers(0, 4000))))


def other_file(file, random):
    others = sorted(p for p in file.parents[1].rglob("*") if p.is_file() and p != file)
    shutil.copyfile(others[random.integers(len(others))], file)


def folder(file, random):
    file.unlink()
    file.mkdir()


def gone(file, random):
    file.unlink()


def endless(file, random):
    file.unlink()
    os.symlink("/dev/zero", file)


def pipe(file, random):
    file.unlink()
    os.mkfifo(file)


def deep(file, random):
    file.write_bytes(b"[" * 100_000 + b"]" * 100_000)


def other_values(file, random):
    """Changes values of a JSON file, anywhere in it."""
    lines = file.read_text(errors="replace").splitlines() if file.suffix == ".jsonl" else [None]
    try:
        found = json.loads(file.read_text() if lines == [None] else lines[0])
    except ValueError:
        return bytes_flipped(file, random)
    for _ in range(random.integers(1, 4)):
        at, parent, key = found, None, None
        while isinstance(at, dict | list) and at and (parent is None or random.random() < 0.7):
            keys = list(at) if isinstance(at, dict) else list(range(len(at)))
            parent, key = at, keys[random.integers(len(keys))]
            at = parent[key]
        if parent is None:
            found = VALUES[random.integers(len(VALUES))]
            break
        if random.random() < 0.2:
            del parent[key]
        else:
            parent[key] = VALUES[random.integers(len(VALUES))]
    file.write_text("\n".join([json.dumps(found), *lines[1:]]))


def other_members(file, random):
    """Changes an array of an archive: its type, shape, values or name, or adds a bomb."""
    if not zipfile.is_zipfile(file):
        return bytes_flipped(file, random)
    with zipfile.ZipFile(file) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    name = list(members)[random.integers(len(members))]
    odd = [
        np.array([np.nan, np.inf]), np.array("text"), np.zeros((0, 3)), np.array(2**63, np.uint64),
        np.zeros(3, "complex64"), np.array({"a": 1}, object), np.full((2, 2), -1),
        np.zeros(300, "V8"),
    ]  # fmt: skip
    way = random.integers(4)
    if way == 0:
        buffer = io.BytesIO()
        np.save(buffer, odd[random.integers(len(odd))], allow_pickle=True)
        members[name] = buffer.getvalue()
    elif way == 1:
        members["../" + name] = members.pop(name)
    elif way == 2:
        members[name] = bytes(100_000_000)
    else:
        del members[name]
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        for member, content in members.items():
            archive.writestr(member, content)


WAYS = [
    bytes_flipped, cut, repeated, noise, other_file, folder, gone, endless, pipe, deep,
    *[other_values] * 5, *[other_members] * 4,
]  # fmt: skip


@pytest.fixture(scope="module")
def originals(finished_run, tmp_path_factory):
    """A run of the Trainer, one of fit, and one in the format before."""
    root = tmp_path_factory.mktemp("originals")
    shutil.copytree(finished_run.path, root / "trainer")
    shutil.copytree(pathlib.Path(__file__).parent / "format_1" / "fit", root / "format_1")
    x = np.random.default_rng(0).random((40, 6)).astype(np.float32)
    model = keras.Sequential(
        [keras.Input((6,)), keras.layers.Dense(8, name="a"), keras.layers.Dense(2, name="b")]
    )
    model.compile("adam", "mse")
    tickets = lth_tf.TicketCallback(root / "fit", epochs_per_level=1, levels=2, verbose=0)
    model.fit(x, x[:, :2], validation_data=(x, x[:, :2]), epochs=2, callbacks=[tickets], verbose=0)
    assert (root / "fit/progress").exists() or len(tickets.run_dir.finished()) == 2
    return sorted(root.iterdir())


def read_all(path, changed):
    """Yields what reads a run directory, each reader on its own."""
    run = RunDir(path)
    stages = [Stage(0), Stage(1), Stage(1, "reinit_0")]
    yield run.provenance
    yield run.config
    yield run.finished
    yield run.metrics
    yield run.origin
    yield run.optimizer_init
    for stage in stages:
        for reader in (
            run.has,
            run.summary,
            run.history,
            run.correct,
            run.mask,
            run.trained,
            run.progress,
        ):
            yield lambda reader=reader, stage=stage: reader(stage)
    yield lambda: run.ticket(1)
    yield lambda: lth_tf.runs(path)
    yield lambda: [results.level_rows(runs) for runs in [results.find_runs([path])]]
    yield lambda: [results.curve_rows(runs) for runs in [results.find_runs([path])]]
    yield lambda: [results.outcome(run.directory) for run in results.find_runs([path])]
    if changed == run.model_path:
        yield lambda: lth_tf.load_model(run.model_path)


def tally(count, seed, originals, folder):
    """Returns what came of each reading: "right", "one line", or what went wrong."""
    random = np.random.default_rng(seed)
    found = collections.Counter()
    for _ in range(count):
        copy = folder / "run"
        shutil.copytree(originals[random.integers(len(originals))], copy)
        files = sorted(p for p in copy.rglob("*") if p.is_file() and p.name != "lock")
        file = files[random.integers(len(files))]
        way = WAYS[random.integers(len(WAYS))]
        way(file, random)
        for reader in read_all(copy, file):
            try:
                reader()
                result = "right"
            except (UsageError, RunError) as error:
                result = "one line" if "\n" not in str(error) else f"several lines: {error}"
            except Exception as error:
                result = f"{type(error).__name__} of {way.__name__}({file.name}): {error}"[:300]
            found[result] += 1
        shutil.rmtree(copy)
    return found


def only_good(found):
    return {k: v for k, v in found.items() if k not in ("right", "one line")}


def test_100_damaged_files(originals, tmp_path):
    found = tally(100, 0, originals, tmp_path)
    assert not only_good(found)
    assert found["one line"] > 100 and found["right"] > 100


@pytest.mark.slow
def test_5000_damaged_files(originals, tmp_path):
    found = tally(5_000, 1, originals, tmp_path)
    print(found)
    assert not only_good(found)


def test_a_damaged_run_is_left_out_of_a_report_and_named(originals, tmp_path, capsys):
    for number in range(3):
        shutil.copytree(originals[-1], tmp_path / f"runs/net/default/seed_{number}")
    (tmp_path / "runs/net/default/seed_1/level_00/summary.json").write_text("{")
    files = report([str(tmp_path / "runs")], ReportOptions(output_dir=str(tmp_path / "out")))
    rows = next(file for file in files if file.name == "levels.csv").read_text()
    stages = len(RunDir(originals[-1]).finished())
    assert rows.count("\n") == 1 + 2 * stages
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("Left out, a damaged run. ") and "seed_1/level_00/summary.json" in line


def test_a_damaged_run_alone_is_an_error(originals, tmp_path):
    copy = shutil.copytree(originals[-1], tmp_path / "run")
    (copy / "level_01/history.npz").write_bytes(b"PK")
    with pytest.raises(UsageError, match="level_01/history.npz"):
        report([str(copy)], ReportOptions(output_dir=str(tmp_path / "out")))
    assert not (tmp_path / "out").exists()
