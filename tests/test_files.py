"""Files and folders are there whole or not at all."""

import json
import os
import pathlib
import resource
import subprocess
import sys

import pytest

from lth_tf import files
from lth_tf.errors import RunError, UsageError
from lth_tf.files import atomic_path, delete_folder, write_bytes

KILLER = pathlib.Path(__file__).with_name("killed_writes.py")


def write_folder(path, content, mark="mark"):
    with atomic_path(path, replaces=mark) as partial:
        (partial / "variables").mkdir(parents=True)
        (partial / "variables" / "values").write_bytes(content)
        (partial / mark).write_bytes(content)


def test_a_file_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "file.bin"
    with atomic_path(path) as partial:
        partial.write_bytes(b"abc")
        assert partial.name == "file.bin"
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert os.listdir(path.parent) == ["file.bin"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="boom"):
        with atomic_path(tmp_path / "new" / "deep" / "file.bin") as partial:
            partial.write_bytes(b"half")
            raise ValueError("boom")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit, OSError, MemoryError])
def test_a_failure_leaves_the_old_file(error, tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises((error, RunError)):
        with atomic_path(path) as partial:
            partial.write_bytes(b"half")
            raise error
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_block_that_writes_nothing_leaves_what_is_there(tmp_path):
    write_bytes(tmp_path / "file.bin", b"old")
    write_folder(tmp_path / "saved", b"old")
    for name in ("file.bin", "saved"):
        with atomic_path(tmp_path / name, replaces="mark"):
            pass
    with atomic_path(tmp_path / "new" / "file.bin"):
        pass
    assert (tmp_path / "file.bin").read_bytes() == b"old"
    assert (tmp_path / "saved" / "variables" / "values").read_bytes() == b"old"
    assert sorted(os.listdir(tmp_path)) == ["file.bin", "saved"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_folder_is_replaced(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", cannot_exchange)
    for content in (b"old", b"new"):
        write_folder(tmp_path / "saved", content)
    assert (tmp_path / "saved" / "mark").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["saved"]


@pytest.mark.parametrize("exchange", [True, False])
def test_a_file_and_a_folder_replace_each_other(exchange, tmp_path, monkeypatch):
    if not exchange:
        monkeypatch.setattr(files, "_exchange", cannot_exchange)
    path = tmp_path / "ticket"
    write_bytes(path, b"file")
    write_folder(path, b"folder")
    assert (path / "mark").read_bytes() == b"folder"
    with atomic_path(path, replaces="mark") as partial:
        partial.write_bytes(b"file again")
    assert path.read_bytes() == b"file again"
    assert os.listdir(tmp_path) == ["ticket"]


def cannot_exchange(one, other):
    raise OSError(22, "Invalid argument")


def test_folders_are_exchanged_in_one_step(tmp_path):
    for name in ("one", "other"):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"was_{name}").touch()
    files._exchange(tmp_path / "one", tmp_path / "other")
    assert os.listdir(tmp_path / "one") == ["was_other"]
    assert os.listdir(tmp_path / "other") == ["was_one"]
    with pytest.raises(FileNotFoundError):
        files._exchange(tmp_path / "one", tmp_path / "missing")


def test_a_failed_move_gives_the_old_folder_back(tmp_path, monkeypatch):
    write_folder(tmp_path / "saved", b"old")
    monkeypatch.setattr(files, "_exchange", cannot_exchange)
    rename = pathlib.Path.rename

    def only_once(source, target):
        monkeypatch.setattr(pathlib.Path, "rename", fails)
        return rename(source, target)

    def fails(source, target):
        monkeypatch.setattr(pathlib.Path, "rename", rename)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(pathlib.Path, "rename", only_once)
    with pytest.raises(RunError, match="No space left"):
        write_folder(tmp_path / "saved", b"new")
    assert (tmp_path / "saved" / "mark").read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["saved"]


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    for mark in ("", "mark"):
        with pytest.raises(UsageError, match="photos, which is or holds something else"):
            with atomic_path(tmp_path / "photos", replaces=mark):
                pass
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]


def test_a_device_is_not_replaced(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(UsageError, match="pipe, which is or holds something else"):
        write_bytes(tmp_path / "pipe", b"")
    assert (tmp_path / "pipe").is_fifo()


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"folder that can be written to.*file/out\.bin"):
        write_bytes(tmp_path / "file" / "out.bin", b"")


def test_a_folder_that_cannot_be_written_to():
    with pytest.raises(UsageError, match="can be written to.*/proc/out.bin"):
        write_bytes(pathlib.Path("/proc/out.bin"), b"")


@pytest.mark.parametrize("name", ["", ".", "..", "/"])
def test_no_name(name):
    with pytest.raises(UsageError, match="Expected the name of a file or folder"):
        with atomic_path(name):
            pass


def test_errors_of_other_files_are_not_taken_for_its_own(tmp_path):
    with pytest.raises(FileNotFoundError, match="examples.npy"):
        with atomic_path(tmp_path / "out.bin"):
            open(tmp_path / "examples.npy")


def test_a_full_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunError, match="Could not write.*What was finished before is kept"):
            write_bytes(tmp_path / "file.bin", bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []


def test_a_folder_is_deleted(tmp_path):
    write_folder(tmp_path / "saved", b"old")
    delete_folder(tmp_path / "saved")
    assert os.listdir(tmp_path) == []


def test_everything_is_flushed_before_it_is_moved(tmp_path, monkeypatch):
    done = []

    def fsync(file):
        done.append(os.readlink(f"/proc/self/fd/{file}").removeprefix(str(tmp_path)))

    def exchange(one, other):
        done.append("exchange")
        raise OSError

    write_folder(tmp_path / "new" / "saved", b"old")
    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(files, "_exchange", exchange)
    write_folder(tmp_path / "new" / "saved", b"new")
    moved = done.index("exchange")
    flushed = {name.partition(".partial")[2] for name in done[:moved]}
    assert flushed == {"/saved", "/saved/mark", "/saved/variables", "/saved/variables/values"}
    assert done[moved + 1 :] == ["/new"]


@pytest.mark.parametrize("stop", ["SIGKILL", "SIGTERM", "exit"])
@pytest.mark.parametrize("case", ["file", "folder", "fallback", "delete"])
def test_killed_at_every_step(case, stop, tmp_path):
    done = subprocess.run(
        [sys.executable, str(KILLER), str(tmp_path), case, stop],
        capture_output=True,
        text=True,
        timeout=120,
        env={**os.environ, "PYTHONPATH": str(KILLER.parents[1])},
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["kills"] >= 30
    expected = {"old", "gone"} if case == "delete" else {"old", "new"}
    # Where folders cannot be exchanged there is a step in between, after which the next writer
    # puts the old one back; a process that is only told to end does so itself.
    if case == "fallback" and stop != "exit":
        expected |= {"old, put back"}
    assert set(found["states"]) == expected
    assert found["leftovers"] == []


WRITER = """
import sys
from lth_tf.files import atomic_path
with atomic_path(sys.argv[1]) as partial:
    partial.write_text("half")
    print("half", flush=True)
    input()
    partial.write_text("whole")
"""


def start_writer(path):
    child = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": str(KILLER.parents[1])},
    )
    assert child.stdout.readline() == "half\n"
    return child


def test_what_a_living_process_writes_is_left_alone(tmp_path):
    path = tmp_path / "file"
    child = start_writer(path)
    write_bytes(path, b"mine")
    assert len(os.listdir(tmp_path)) == 2
    child.communicate("\n", timeout=60)
    assert child.returncode == 0
    assert path.read_text() == "whole"


def test_what_a_killed_process_leaves_goes_with_the_next_write(tmp_path):
    path = tmp_path / "file"
    child = start_writer(path)
    child.terminate()
    child.communicate(timeout=60)
    assert len(os.listdir(tmp_path)) == 1
    write_bytes(path, b"mine")
    assert os.listdir(tmp_path) == ["file"]
