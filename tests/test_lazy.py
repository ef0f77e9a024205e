import configparser
import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

from experiments import analyze
from experiments.studies import study
from export import command
from export.config import ExportOptions
from lth_tf.config import ExperimentConfig
from lth_tf.lazy import EXTRAS, MissingPackage, lazy_imports, missing_extra

ROOT = pathlib.Path(__file__).parents[1]
NOT_IN_ALL = {"gpu", "ray", "all", "test", "docs"}
MODULES = {"scikit-learn": "sklearn", "vl-convert-python": "vl_convert"}


def extras():
    """Returns extra -> the modules that it installs."""
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    found = {}
    for extra, lines in config["options.extras_require"].items():
        names = [re.match(r"[\w-]+", line)[0] for line in lines.split("\n") if line.strip("# ")]
        found[extra] = {MODULES.get(name, name.replace("-", "_")) for name in names}
    return found


def test_every_package_of_an_extra_is_known_by_it():
    declared = extras()
    for module, extra in EXTRAS.items():
        assert module in declared[extra], (module, extra)
    for_users = [name for name in declared if name not in NOT_IN_ALL - {"ray"}]
    asked_for = set.union(*(declared[name] for name in for_users))
    assert asked_for == set(EXTRAS)


def test_all_is_everything_but_what_clusters_gpus_and_developers_need():
    config = configparser.ConfigParser()
    config.read(ROOT / "setup.cfg")
    named = re.search(r"\[(.*)\]", config["options.extras_require"]["all"])[1].split(",")
    assert set(named) == set(extras()) - NOT_IN_ALL


def test_another_missing_module_is_left_alone():
    assert missing_extra(ModuleNotFoundError("No module named 'mine'", name="mine")) == ""
    assert missing_extra(ImportError("cannot import name", name="altair")) == ""


def test_a_lazy_import_names_the_extra(monkeypatch):
    monkeypatch.setitem(sys.modules, "altair", None)
    with lazy_imports():
        import altair
    with pytest.raises(MissingPackage, match=r"pip install 'lth_tf\[report\]'") as caught:
        altair.Chart  # noqa: B018
    assert isinstance(caught.value, ImportError)


def test_relative_imports_are_lazy_too():
    code = (
        "__package__ = 'experiments'\nimport sys\nfrom lth_tf.lazy import lazy_imports\n"
        "with lazy_imports():\n    from . import results\n    from .figures import marks\n"
        "assert 'experiments.results' not in sys.modules\n"
        "assert results.measured.__name__ == 'measured'\n"
        "assert 'experiments.results' in sys.modules\n"
        "assert marks.against_size.__module__ == 'experiments.figures.marks'\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)


@pytest.mark.parametrize(
    ("module", "missing", "arguments", "extra"),
    [
        ("experiments.lenet", "sklearn", ["--dataset=digits", "--iterations=1"], "data"),
        ("experiments.lenet", "tensorflow_datasets", ["--dataset=mnist"], "data"),
        ("experiments.tune", "keras_tuner", ["--dataset=digits"], "tune"),
        ("experiments.report", "altair", ["RUN"], "report"),
    ],
)
def test_a_program_names_the_extra_that_it_needs(
    finished_run, tmp_path, module, missing, arguments, extra
):
    code = (
        f"import runpy, sys\nsys.modules[{missing!r}] = None\n"
        f"sys.argv = ['program', *sys.argv[1:]]\nrunpy.run_module({module!r}, run_name='__main__')"
    )
    arguments = [str(finished_run.path) if a == "RUN" else a for a in arguments]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 2
    assert done.stderr == (
        f"error: Expected the package {missing}. Received: it is not installed. "
        f"pip install 'lth_tf[{extra}]'\n"
    )


@pytest.mark.parametrize(("given", "level"), [({}, "3"), ({"TF_CPP_MIN_LOG_LEVEL": "0"}, "0")])
def test_tensorflow_is_quiet_in_a_script_that_imports_lth_tf_first(given, level):
    others = {k: v for k, v in os.environ.items() if k != "TF_CPP_MIN_LOG_LEVEL"}
    code = "import sys, os, lth_tf; print(os.environ['TF_CPP_MIN_LOG_LEVEL'], *sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**others, "PYTHONPATH": str(ROOT), **given},
        capture_output=True,
        text=True,
        check=True,
    )
    found, *modules = done.stdout.split()
    assert found == level and "tensorflow" not in modules


def without(package, monkeypatch):
    found = importlib.util.find_spec
    monkeypatch.setattr(
        "importlib.util.find_spec",
        lambda name, *rest: None if name == package else found(name, *rest),
    )


def test_a_study_that_could_not_draw_is_not_begun(tmp_path, monkeypatch, capsys):
    without("vl_convert", monkeypatch)
    monkeypatch.setattr(sys, "argv", ["signs", f"--runs_dir={tmp_path}"])
    begun = []
    with pytest.raises(SystemExit) as end:
        study.main("signs", ExperimentConfig(), "A study.", begun.append)
    assert end.value.code == 2 and not begun
    assert "pip install 'lth_tf[report]'" in capsys.readouterr().err


def test_an_analysis_that_could_not_draw_is_not_begun(tmp_path, monkeypatch):
    without("altair", monkeypatch)
    with pytest.raises(MissingPackage, match=r"pip install 'lth_tf\[report\]'"):
        analyze.analyze([str(tmp_path)])


def test_fine_tuning_that_cannot_be_is_not_begun(monkeypatch):
    without("tf_keras", monkeypatch)
    with pytest.raises(MissingPackage, match=r"pip install 'lth_tf\[baseline\]'"):
        command.run(ExportOptions(run="none", qat=True))
