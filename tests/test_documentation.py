"""The README, the guides, the tutorials and the site, as a reader uses them."""

import html.parser
import json
import os
import pathlib
import re
import runpy
import shlex
import subprocess
import sys

import numpy as np
import pytest

from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage

ROOT = pathlib.Path(__file__).parents[1]
TUTORIALS = sorted((ROOT / "docs" / "tutorials").glob("*.ipynb"))


def blocks(page):
    """Returns the Python examples of a page."""
    return re.findall(r"```python\n(.*?)```", (ROOT / page).read_text(), re.DOTALL)


def execute(page, number, names):
    exec(compile(blocks(page)[number], page, "exec"), names)


@pytest.fixture(scope="module")
def own_model(tmp_path_factory):
    """The names that the README's example leaves behind, in the folder it was executed in."""
    folder = tmp_path_factory.mktemp("own_model")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        execute("README.md", 0, names := {})
    return folder, names


@pytest.mark.optimized
def test_the_readmes_example_finds_a_winning_ticket_and_ends_in_a_file(
    own_model, monkeypatch, capsys
):
    folder, _ = own_model
    monkeypatch.chdir(folder)
    readme = (ROOT / "README.md").read_text()
    commands = re.findall(r"^    (lth \w+ .*runs/mine.*)$", readme, re.MULTILINE)
    assert [command.split()[1] for command in commands] == ["report", "export"]
    for command in commands:
        monkeypatch.setattr(sys, "argv", [*shlex.split(command), *quick(command)])
        with pytest.raises(SystemExit) as end:
            runpy.run_module("lth_tf", run_name="__main__")
        assert end.value.code == 0, capsys.readouterr().err
    said = capsys.readouterr().out
    found = re.search(r"Smallest winning ticket: level (\d), ([\d.]+) % of the weights", said)
    (file,) = re.findall(r"`(runs/mine/\S+\.tflite)`: ([\d,]+) bytes", readme)
    assert f"here {found[2]} % of the weights" in readme
    assert f"level_0{found[1]}" in file[0]
    assert os.path.getsize(file[0]) == pytest.approx(int(file[1].replace(",", "")), rel=0.02)
    assert "100.00 % of the predictions are the model's" in said
    assert (folder / "runs/mine/report/report.html").exists()


def quick(command):
    return ["--latency_seconds=0"] if command.startswith("lth export") else []


def test_levels_of_the_readmes_example(own_model):
    run_dir = RunDir(own_model[0] / "runs/mine/seed_0")
    assert [stage.level for stage in run_dir.finished()] == list(range(7))
    kept = {path: int(mask.sum()) for path, mask in run_dir.mask(Stage(6)).items()}
    assert kept == {"hidden/kernel": 753, "out/kernel": 118}  # 6400 and 1000, each * 0.7 ** 6
    assert run_dir.summary(Stage(6))["final_test_accuracy"] > 0.9


def test_examples_of_the_guide(own_model, monkeypatch):
    folder, names = own_model
    monkeypatch.chdir(folder)
    page = "docs/own_model.md"
    execute(page, 0, names)
    assert [stage.level for stage in names["run"].finished()] == list(range(5))
    assert names["run"].summary(Stage(4))["final_test_accuracy"] > 0.85
    execute(page, 1, names)
    assert np.count_nonzero(names["masked"].layers[0].kernel.numpy()) == 128
    assert (folder / "ticket.keras").exists() and (folder / "masked.keras").exists()
    assert len(blocks(page)) == 2


def test_links_of_the_readme_lead_somewhere():
    links = re.findall(r"\]\(([^)]+)\)", (ROOT / "README.md").read_text())
    local = [link.partition("#")[0] for link in links if not link.startswith("https://")]
    assert len(local) > 10
    assert [link for link in local if not (ROOT / link).exists()] == []


class Links(html.parser.HTMLParser):
    """The anchors of a page, where it links to, and what it loads."""

    def __init__(self, text):
        super().__init__()
        self.anchors, self.links, self.loaded = {""}, [], []
        self.feed(text)

    def handle_starttag(self, tag, attributes):
        values = dict(attributes)
        self.anchors |= {values.get("id"), values.get("name")}
        if tag in ("script", "img", "iframe", "source") and "src" in values:
            self.loaded.append(values["src"])
        if tag == "link" and values.get("rel") not in ("canonical", "prev", "next"):
            self.loaded.append(values["href"])
        if tag == "a" and "href" in values:
            self.links.append(values["href"])


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The built site, every warning an error."""
    pytest.importorskip("mkdocs", reason="the site needs pip install '.[docs]'")
    folder = tmp_path_factory.mktemp("site")
    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", f"--site-dir={folder}"],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return {page.resolve(): Links(page.read_text()) for page in folder.rglob("*.html")}


def test_every_link_of_the_site_leads_to_a_place_in_it(site):
    broken = []
    for page, found in site.items():
        if page.name == "404.html":  # its links begin at the root of a server
            continue
        for link in found.links:
            if link.startswith(("https://", "mailto:")):
                continue
            path, _, anchor = link.partition("#")
            target = (page.parent / path).resolve() if path else page
            there = target.exists() and anchor in site.get(target, Links("")).anchors | {""}
            if not there:
                broken.append((page.name, link))
    assert broken == []


def test_the_site_loads_nothing_from_elsewhere(site):
    for page, found in site.items():
        for source in found.loaded:
            assert not re.match(r"(https?:)?//", source), (page, source)


def test_the_search_works_on_pages_that_are_opened_from_the_disk(site, browser):
    (index,) = (
        page
        for page in site
        if page.parts[-1] == "index.html" and (page.parent / "search").exists()
    )
    browser.get(f"{index.as_uri()}?q=TicketCallback")
    found = browser.execute_async_script(
        """
        const done = arguments[0];
        const look = () => {
          const links = [...document.querySelectorAll('.md-search-result__link')];
          return links.length ? done(links.map(link => link.href)) : setTimeout(look, 50);
        };
        look();
        """
    )
    folder = index.parent.as_uri()
    assert all(link.startswith(f"{folder}/") for link in found)
    assert f"{folder}/api/tickets.html" in {
        link.partition("?")[0].partition("#")[0] for link in found
    }


def test_the_site_holds_what_stands_elsewhere(site):
    names = {"/".join(page.parts[-2:]) for page in site}
    assert {f"tutorials/{tutorial.stem}.html" for tutorial in TUTORIALS} <= names
    pages = {page.name: found for page, found in site.items()}
    assert {"recipes", "on-disk", "decisions"} <= pages["how_it_is_built.html"].anchors
    assert "lth_tf.tickets.callback.TicketCallback" in pages["tickets.html"].anchors
    assert "lth_tf.methods.rigl.RigL" in pages["methods.html"].anchors


@pytest.mark.slow
@pytest.mark.parametrize("tutorial", TUTORIALS, ids=lambda path: path.stem)
def test_tutorials_run_and_say_what_they_show(tutorial, tmp_path, monkeypatch):
    pytest.importorskip("nbclient", reason="tutorials need pip install '.[docs]'")
    from docs.execute import executed

    monkeypatch.setenv("PATH", f"{lth(tmp_path)}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    shown = json.loads(tutorial.read_text())["cells"]
    for one, other in zip(shown, executed(tutorial).cells, strict=True):
        assert printed(one) == printed(other)


def lth(folder):
    """Makes the command `lth` of this checkout."""
    command = folder / "bin" / "lth"
    command.parent.mkdir()
    command.write_text(f'#!/bin/sh\nexec {sys.executable} -m lth_tf "$@"\n')
    command.chmod(0o755)
    return command.parent


def printed(cell):
    """Returns what a cell has printed, without what differs between machines: times and sizes."""
    outputs = cell.get("outputs", ())
    text = "".join("".join(o["text"]) for o in outputs if o.get("name") == "stdout")
    return [line for line in text.splitlines() if "level " in line and " %" in line]
