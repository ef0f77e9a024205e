"""Files and folders appear whole or not at all."""

import os
import resource

import pytest

from export.whole import written_whole
from lth_tf.errors import RunError, UsageError


def test_a_file_in_a_new_folder(tmp_path):
    path = tmp_path / "new" / "file.bin"
    with written_whole(path) as partial:
        partial.write_bytes(b"abc")
        assert partial.name == "file.bin"
        assert not path.exists()
    assert path.read_bytes() == b"abc"
    assert os.listdir(path.parent) == ["file.bin"]


def test_a_failure_leaves_nothing_behind(tmp_path):
    with pytest.raises(ValueError, match="boom"):
        with written_whole(tmp_path / "new" / "deep" / "file.bin") as partial:
            partial.write_bytes(b"half")
            raise ValueError("boom")
    assert os.listdir(tmp_path) == []


def test_a_failure_leaves_the_old_file(tmp_path):
    path = tmp_path / "file.bin"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt):
        with written_whole(path) as partial:
            partial.write_bytes(b"half")
            raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert os.listdir(tmp_path) == ["file.bin"]


def test_a_saved_model_is_replaced(tmp_path):
    path = tmp_path / "saved"
    for content in (b"old", b"new"):
        with written_whole(path) as partial:
            partial.mkdir()
            (partial / "saved_model.pb").write_bytes(content)
    assert (path / "saved_model.pb").read_bytes() == b"new"
    assert os.listdir(tmp_path) == ["saved"]


def test_a_folder_of_somebody_else_is_not_replaced(tmp_path):
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "cat.jpg").write_bytes(b"cat")
    with pytest.raises(UsageError, match="holds something else"):
        with written_whole(tmp_path / "photos"):
            pass
    assert os.listdir(tmp_path / "photos") == ["cat.jpg"]


def test_a_file_where_the_folder_should_be(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(UsageError, match=r"folder that can be written to.*file/out\.bin"):
        with written_whole(tmp_path / "file" / "out.bin"):
            pass


def test_a_folder_that_cannot_be_written_to():
    with pytest.raises(UsageError, match="can be written to.*/proc/out.bin"):
        with written_whole("/proc/out.bin"):
            pass


def test_a_full_disk(tmp_path):
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1000, hard))
    try:
        with pytest.raises(RunError, match="Could not write.*What was finished before is kept"):
            with written_whole(tmp_path / "file.bin") as partial:
                partial.write_bytes(bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert os.listdir(tmp_path) == []
