"""The examples of WORKSPACE.md, executed."""

import pathlib
import re

import numpy as np
import pytest

from experiments.figures import FIGURES
from experiments.report import report
from export.formats import FORMATS
from lth_tf import datasets, networks
from lth_tf.config import CONTROLS, CRITERIA, METHODS, ExperimentConfig, run_name
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from lth_tf.tickets.find import find_tickets
from lth_tf.tickets.procedure import control_label

TEXT = (pathlib.Path(__file__).parents[1] / "WORKSPACE.md").read_text()
# Title, the folder of the new file, its text.
EXAMPLES = re.findall(
    r"^### (Add .+?)$.*?`([\w/]+)/\w+\.py`.*?```python\n(.*?)```", TEXT, re.DOTALL | re.MULTILINE
)


@pytest.fixture
def examples(monkeypatch):
    registries = (
        networks.NETWORKS,
        CRITERIA,
        METHODS,
        CONTROLS,
        datasets.DATASETS,
        FORMATS,
        FIGURES,
    )
    for registry in registries:
        monkeypatch.setattr(registry, "_items", {n: registry.get(n) for n in registry.names()})
    for title, folder, code in EXAMPLES:
        package = folder.replace("/", ".")
        names = {"__name__": f"{package}.recipe_{len(title)}", "__package__": package}
        exec(compile(code, title, "exec"), names)


def test_every_recipe_has_an_example():
    assert [title for title, _, _ in EXAMPLES] == [
        "Add a network",
        "Add a pruning criterion",
        "Add a method",
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
    files = {file.name for file in report([str(run_dir.path)])}
    assert {"tickets.png", "seconds.png"} <= files


def test_readme_examples(tmp_path, monkeypatch, capsys):
    readme = (pathlib.Path(__file__).parents[1] / "README.md").read_text()
    in_fit, in_loop, by_hand = re.findall(r"```python\n(.*?)```", readme, re.DOTALL)
    monkeypatch.chdir(tmp_path)
    names = {}
    exec(compile(in_fit, "README.md", "exec"), names)
    run_dir = RunDir("runs/mine/seed_0")
    assert [stage.level for stage in run_dir.finished()] == list(range(9))
    assert run_dir.summary(Stage(8))["remaining"] == 1242  # 6400 and 1000, each * 0.8 ** 8
    assert run_dir.summary(Stage(8))["final_test_accuracy"] > 0.8
    assert "% remaining" in capsys.readouterr().out
    exec(compile(in_loop, "README.md", "exec"), names)
    assert [stage.level for stage in names["run"].finished()] == list(range(5))
    assert names["run"].summary(Stage(4))["final_test_accuracy"] > 0.85
    exec(compile(by_hand, "README.md", "exec"), names)
    assert np.count_nonzero(names["masked"].layers[0].kernel.numpy()) == 128
    assert (tmp_path / "ticket.keras").exists() and (tmp_path / "masked.keras").exists()
