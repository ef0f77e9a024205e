"""The examples of WORKSPACE.md, executed."""

import os
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

from experiments.figures import FIGURES
from experiments.report import report
from export.formats import FORMATS
from lth_tf import datasets, networks
from lth_tf.analysis import ANALYSES
from lth_tf.analysis.base import Subject
from lth_tf.analysis.survey import survey
from lth_tf.config import (
    CONTROLS,
    CRITERIA,
    GRANULARITIES,
    METHODS,
    ExperimentConfig,
    run_name,
)
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from lth_tf.tickets.procedure import control_label

TEXT = (pathlib.Path(__file__).parents[1] / "WORKSPACE.md").read_text()
# Title, the new file, its text.
EXAMPLES = re.findall(
    r"^### (Add .+?)$.*?`([\w/]+\.py)`.*?```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE
)
ROOT = pathlib.Path(__file__).parents[1]
# What the files register, of which the tests over the registries then make tests.
NAMES = (
    "tiny",
    "product",
    "fan_out",
    "from_scratch",
    "dead_units",
    "negated",
    "stripes",
    "seconds",
    "keras_gz",
)
# Tests that go over registries, or could know what is in them.
RELEVANT = [
    "analysis",
    "controls",
    "export/test_command.py",
    "export/test_formats.py",
    "methods",
    "pruning",
    "test_architecture.py",
    "test_cli.py",
    "test_config.py",
    "test_datasets.py",
    "test_gradual.py",
    "test_networks.py",
    "test_pruning.py",
    "test_registry.py",
    "test_report.py",
    "tickets/test_callback_hooks.py",
    "tickets/test_find.py",
    "training/test_loop.py",
]


@pytest.fixture
def house(tmp_path):
    """A copy of the sources with the file of every recipe in its room, and nothing else changed."""
    for name in ("lth_tf", "experiments", "export", "tests"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("setup.cfg", "pyproject.toml", "README.md", "WORKSPACE.md", "Makefile"):
        shutil.copy(ROOT / name, tmp_path)
    for _, file, code in EXAMPLES:
        assert not (tmp_path / file).exists()
        (tmp_path / file).write_text(f'"""{file}."""\n\n{code}')
    return tmp_path


def run_tests(house, *arguments):
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", *arguments]
    done = subprocess.run(
        command,
        cwd=house,
        env={**os.environ, "PYTHONPATH": str(house)},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stdout[-5000:]
    return done.stdout


def test_files_in_their_rooms_are_found_and_tested_with_no_other_file_changed(house):
    code = (
        "from experiments.figures import FIGURES; from export.formats import FORMATS;"
        "from lth_tf.analysis import ANALYSES;"
        "from lth_tf.datasets import DATASETS;"
        "from lth_tf.config import CONTROLS, CRITERIA, GRANULARITIES, METHODS, NETWORKS;"
        "rooms = (NETWORKS, CRITERIA, GRANULARITIES, METHODS, ANALYSES, CONTROLS, DATASETS,"
        "FIGURES, FORMATS);"
        "found = [room.names() for room in rooms];"
        f"assert all(n in names for n, names in zip({NAMES}, found, strict=True)), found"
    )
    subprocess.run([sys.executable, "-c", code], cwd=house, check=True)
    out = run_tests(
        house,
        *(
            f"tests/{name}"
            for name in ("test_registry.py", "test_config.py", "test_architecture.py")
        ),
        *(f"tests/{name}" for name in ("pruning", "controls", "export/test_formats.py")),
        *("tests/test_networks.py", "tests/methods/test_every_method.py"),
        "tests/analysis/test_every_analysis.py",
        *("-k", " or ".join((*NAMES, "registry", "config", "architecture"))),
    )
    assert int(re.search(r"(\d+) passed", out)[1]) > 20


@pytest.mark.slow
def test_the_whole_relevant_suite_passes_with_the_files_in_their_rooms(house):
    run_tests(house, *(f"tests/{name}" for name in RELEVANT))


@pytest.fixture
def examples(monkeypatch):
    registries = (
        networks.NETWORKS,
        CRITERIA,
        GRANULARITIES,
        METHODS,
        ANALYSES,
        CONTROLS,
        datasets.DATASETS,
        FORMATS,
        FIGURES,
    )
    for registry in registries:
        monkeypatch.setattr(registry, "_items", {n: registry.get(n) for n in registry.names()})
    for title, file, code in EXAMPLES:
        package = file.rpartition("/")[0].replace("/", ".")
        names = {"__name__": f"{package}.recipe_{len(title)}", "__package__": package}
        exec(compile(code, title, "exec"), names)


def test_every_recipe_has_an_example():
    assert [title for title, _, _ in EXAMPLES] == [
        "Add a network",
        "Add a pruning criterion",
        "Add a granularity",
        "Add a method",
        "Add an analysis",
        "Add a control",
        "Add a data set",
        "Add a figure",
        "Add an export format",
    ]


def test_the_examples_work_together(examples, tiny, tmp_path):
    config = tiny.replace(
        network="tiny",
        criterion="product",
        method="from_scratch",
        negated=1,
        dataset="stripes",
        prune_rate_conv=0.25,
        levels=1,
    )
    data = datasets.load("stripes", image_shape=networks.image_shape("tiny"))
    assert (data.image_shape, data.classes, len(data.train)) == ((8, 8, 1), 2, 250)
    run_dir = RunDir(tmp_path / "run")
    with run_dir.writing(config, {}):
        find_tickets(config, data, run_dir)
    kept = run_dir.mask(Stage(1))
    assert {path: int(mask.sum()) for path, mask in kept.items()} == {
        "conv1/kernel": 27,
        "output/kernel": 259,
    }
    path = "conv1/kernel"
    scores = run_dir.trained(Stage(0))[path] * run_dir.origin()[path]
    gone = kept["conv1/kernel"] == 0
    assert scores[gone].max() <= scores[~gone].min()
    assert run_dir.finished() == [
        Stage(0),
        Stage(0, "negated_0"),
        Stage(1),
        Stage(1, "negated_0"),
    ]
    assert control_label("negated_0") == "signs turned"
    name = run_name(config, ExperimentConfig())
    assert "method=from_scratch" in name and "negated" not in name
    assert run_name(config.replace(fresh_levels=2), config) == "fresh_levels=2"
    assert run_dir.config() == config
    page, *files = report([str(run_dir.path)])
    assert {"tickets.png", "seconds.png"} <= {file.name for file in files}
    assert "Units without an input" in page.read_text()
    rows = survey([Subject(run_dir)], {"dead_units": ANALYSES.get("dead_units")()})["dead_units"]
    dead = {row["layer"]: row["dead"] for row in rows if row["level"] == 1}
    assert dead == {
        layer: 100 * float((~mask.any(axis=tuple(range(mask.ndim - 1)))).mean())
        for layer, mask in kept.items()
    }
