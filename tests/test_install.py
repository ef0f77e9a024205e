"""The wheel in a fresh environment, used from a folder with packages of the same names."""

import os
import pathlib
import shutil
import subprocess
import sys
import sysconfig
import tarfile
import venv

import pytest

ROOT = pathlib.Path(__file__).parents[1]
QUICK = ("--dataset=digits", "--iterations=60", "--levels=1", "--eval_interval=20")
FOLDERS = ("lth_tf", "experiments", "export")


def pip(*arguments):
    # Nothing is downloaded: what lth_tf needs is that of this environment.
    command = [sys.executable, "-m", "pip", *map(str, arguments)]
    subprocess.run(command, check=True, capture_output=True, env=without_checkout())


def without_checkout():
    return {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}


@pytest.fixture(scope="module")
def sources(tmp_path_factory):
    """A copy, because building leaves files behind."""
    copy = tmp_path_factory.mktemp("sources")
    for folder in (*FOLDERS, "docs"):
        shutil.copytree(ROOT / folder, copy / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for file in ROOT.iterdir():
        if file.is_file() and file.name != ".git":
            shutil.copy(file, copy)
    return copy


def fresh_environment(folder):
    venv.create(folder, symlinks=True)
    packages = folder / "lib" / f"python{sys.version_info[0]}.{sys.version_info[1]}/site-packages"
    (packages / "dependencies.pth").write_text(sysconfig.get_path("purelib"))
    return folder / "bin"


@pytest.fixture(scope="module")
def installed(sources, tmp_path_factory):
    """The programs of an environment with the wheel."""
    folder = tmp_path_factory.mktemp("wheel")
    pip("wheel", "--no-deps", "--no-build-isolation", "--no-index", f"-w{folder}", sources)
    (wheel,) = folder.glob("lth_tf-*.whl")
    programs = fresh_environment(folder / "environment")
    pip(f"--python={programs / 'python'}", "install", "--no-deps", "--no-index", wheel)
    return programs


@pytest.fixture
def project(tmp_path):
    """Somebody's project that has modules named like ours."""
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "mine.py").write_text("print('my experiment')")
    (tmp_path / "experiments" / "__init__.py").touch()
    (tmp_path / "export.py").write_text("print('my export')")
    return tmp_path


@pytest.fixture
def call(installed, project):
    def call(name, *arguments, programs=installed):
        done = subprocess.run(
            [programs / name, *arguments],
            cwd=project,
            env=without_checkout(),
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    return call


def test_every_module_and_no_other_top_level_package_is_in_the_wheel(installed):
    packages = next(installed.parent.glob("lib/*/site-packages"))
    top = {path.name for path in packages.iterdir() if "dist-info" not in path.name}
    assert top == {"lth_tf", "dependencies.pth"}
    for folder in FOLDERS:
        here = {path.relative_to(ROOT / folder) for path in (ROOT / folder).rglob("*.py")}
        home = packages / ("lth_tf" if folder == "lth_tf" else f"lth_tf/{folder}")
        there = {path.relative_to(home) for path in home.rglob("*.py")}
        assert here <= there, here - there


def test_the_source_archive_holds_pictures_changes_and_documentation(sources, tmp_path):
    code = f"from setuptools import build_meta; build_meta.build_sdist({str(tmp_path)!r})"
    subprocess.run([sys.executable, "-c", code], cwd=sources, check=True, capture_output=True)
    (archive,) = tmp_path.glob("lth_tf-*.tar.gz")
    with tarfile.open(archive) as files:
        held = {name.partition("/")[2] for name in files.getnames()}
    assert {"CHANGELOG.md", "WORKSPACE.md", "LICENSE", "Makefile", "mkdocs.yml"} <= held
    for folder in ("experiments/measured", "docs", "docs/api", "docs/tutorials"):
        here = {f"{folder}/{file.name}" for file in (ROOT / folder).iterdir() if file.is_file()}
        assert here <= held, here - held


def test_a_project_keeps_its_modules_of_the_same_names(call):
    assert call("python", "-m", "experiments.mine") == "my experiment\n"
    assert call("python", "-m", "export") == "my export\n"
    call("python", "-c", "import lth_tf.export, lth_tf.experiments.results")


def test_lth_runs_reports_and_exports(call, project):
    run = "runs/lenet/dataset=digits,eval_interval=20,iterations=60/seed_0"
    out = call("lth", "lenet", *QUICK)
    assert f"lth report {run}" in out and "python" not in out
    assert "experiments.lenet" not in call("lth", "lenet", "--help")
    assert "report.html" in call("lth", "report", run)
    options = ("--level=1", "--format=saved_model", "--latency_seconds=0")
    call("lth", "export", f"--run={run}", *options)
    assert list((project / run / "export").iterdir())
    assert '"git_commit": ""' in (project / run / "config.json").read_text()


@pytest.mark.slow
def test_programs_that_start_programs(call, project):
    replicates = ("--replicates=2", "--jobs=2", "--runs_dir=both")
    assert "2 replicates done" in call("lth", "lenet", *QUICK, *replicates)
    gradual = call("lth", "gradual", QUICK[0], "--iterations=300", "--final_density=0.2")
    assert "lth export --run=" in gradual


@pytest.mark.slow
def test_an_editable_installation(call, sources, tmp_path_factory):
    programs = fresh_environment(tmp_path_factory.mktemp("editable") / "environment")
    options = ("--no-deps", "--no-build-isolation", "--no-index")
    pip(f"--python={programs / 'python'}", "install", *options, "--editable", sources)
    assert "  conv6 " in call("lth", programs=programs)
    assert call("python", "-m", "experiments.mine", programs=programs) == "my experiment\n"
    assert "lth report" in call("lth", "lenet", *QUICK, programs=programs)
