"""Where a run comes from, and that it does not name a repository of somebody else."""

import pathlib
import shutil
import subprocess

import pytest

from lth_tf import datasets
from lth_tf.runs import provenance as records
from lth_tf.runs.provenance import data_record, described, git_commit, provenance, versions

ROOT = pathlib.Path(__file__).parents[2]


def commit(folder):
    folder.mkdir(parents=True, exist_ok=True)
    identity = ["-c", "user.name=a", "-c", "user.email=a@b", "-c", "commit.gpgsign=false"]
    for command in (["init", "-q"], ["add", "-A"], [*identity, "commit", "-qm", "one"]):
        subprocess.run(["git", *command], cwd=folder, check=True, capture_output=True)
    command = ["git", "rev-parse", "HEAD"]
    return subprocess.run(
        command, cwd=folder, check=True, capture_output=True, text=True
    ).stdout.strip()


@pytest.fixture
def checkout(tmp_path):
    root = tmp_path / "checkout"
    (root / "lth_tf").mkdir(parents=True)
    (root / "lth_tf" / "__init__.py").touch()
    shutil.copy(ROOT / "setup.cfg", root)
    return root


def test_commit_of_its_own_checkout(checkout):
    made = commit(checkout)
    assert len(made) == 40
    assert git_commit(checkout) == made


def test_repository_of_the_user_is_not_named(tmp_path):
    project = tmp_path / "project"
    installed = project / ".venv" / "lib" / "site-packages"
    for folder in (installed / "lth_tf", project / "lth_tf"):
        folder.mkdir(parents=True)
        (folder / "__init__.py").touch()
    (project / "setup.cfg").write_text("[metadata]\nname = thesis\n")
    commit(project)
    assert git_commit(installed) == ""
    assert git_commit(project) == ""  # a copy of the package among their own files


def test_variables_of_a_git_hook_lead_nowhere(checkout, tmp_path, monkeypatch):
    made = commit(checkout)
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "file").touch()
    commit(tmp_path / "other")
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "other" / ".git"))
    assert git_commit(checkout) == made


def test_no_git(checkout, monkeypatch):
    monkeypatch.setenv("PATH", "")
    assert git_commit(checkout) == ""


def test_versions_of_what_is_installed():
    found = versions("keras-tuner", "no-such-package")
    assert found["keras"].startswith("3.")
    assert {"numpy", "tensorflow", "keras-tuner"} <= found.keys()
    assert "no-such-package" not in found


def test_record():
    data = datasets.load("digits", image_shape=(28, 28, 1))
    found = provenance(data=data_record(data, "data"), jit="auto")
    assert found["data"] == {
        "image_shape": [28, 28, 1],
        "classes": 10,
        "divisor": 255.0,
        "checksum": data.checksum,
        "data_dir": str(pathlib.Path("data").absolute()),
    }
    assert found["device"].startswith(("CPU (", "GPU ("))
    assert found["jit"] == "auto"
    assert "data" not in provenance()
    assert records._ROOT == ROOT


def test_in_words():
    about = {"device": "CPU (2 threads)", "versions": {"keras": "3.15.1", "numpy": "2.4.6"}}
    assert described(about) == "CPU (2 threads); keras 3.15.1, numpy 2.4.6"
    assert described({}) == ""
