import csv
import json
import shutil

import pytest

from experiments import results
from experiments.report import ReportOptions, report
from lth_tf.errors import UsageError

PHONE, DESK = (390, 844), (1200, 900)


@pytest.fixture(scope="module")
def files(finished_run, tmp_path_factory):
    output = tmp_path_factory.mktemp("report")
    written = report([str(finished_run.path)], ReportOptions(output_dir=str(output)))
    return {path.name: path for path in written}


def test_files(files):
    assert list(files) == [
        "report.html",
        "tickets.png",
        "curves.png",
        "iterations.png",
        "levels.csv",
        "curves.csv",
    ]
    for name in ("tickets.png", "curves.png", "iterations.png"):
        content = files[name].read_bytes()
        assert content.startswith(b"\x89PNG") and len(content) > 20_000


def test_csv_holds_the_numbers_of_the_run(files, finished_run):
    rows = list(csv.DictReader(files["levels.csv"].read_text().splitlines()))
    assert len(rows) == 9
    assert [row["remaining"] for row in rows[::3]] == ["100.0", "80.04", "64.06"]
    assert {row["series"] for row in rows} == {
        "iterative",
        "iterative, random reinit",
        "iterative, random mask",
    }
    stages = finished_run.finished()
    for row, stage in zip(rows, stages, strict=True):
        expected = 100 * finished_run.summary(stage)["early_stop_test_accuracy"]
        assert float(row["early_stop_accuracy"]) == pytest.approx(expected, abs=1e-3)
    curves = list(csv.DictReader(files["curves.csv"].read_text().splitlines()))
    assert {row["iteration"] for row in curves} == {"0", "20", "40", "60"}


def test_page_needs_no_network(files):
    text = files["report.html"].read_text()
    assert '<meta name="viewport"' in text
    assert "<script src" not in text and '<link rel="stylesheet"' not in text
    assert "@import" not in text.split("<script")[0]


def test_runs_of_several_configurations_are_told_apart(finished_run, tmp_path):
    for folder, change in (("a", {}), ("b", {"strategy": "oneshot"}), ("c", {"dropout_rate": 0.5})):
        copy = tmp_path / "lenet" / folder / "seed_0"
        shutil.copytree(finished_run.path, copy)
        config = json.loads((copy / "config.json").read_text())
        config["config"] |= change
        (copy / "config.json").write_text(json.dumps(config))
    rows = results.level_rows(results.find_runs([tmp_path]))
    assert {row["series"] for row in rows if not row["control"]} == {
        "dropout_rate 0.0, iterative",
        "dropout_rate 0.0, one-shot",
        "dropout_rate 0.5, iterative",
    }


def test_runs_on_other_data_are_another_curve(finished_run, tmp_path):
    for folder, dataset in (("a", "digits"), ("b", "mnist")):
        copy = tmp_path / "lenet" / folder / "seed_0"
        shutil.copytree(finished_run.path, copy)
        config = json.loads((copy / "config.json").read_text())
        config["config"]["dataset"] = dataset
        (copy / "config.json").write_text(json.dumps(config))
    series = {run.series("") for run in results.find_runs([tmp_path])}
    assert series == {"dataset digits, iterative", "dataset mnist, iterative"}


def test_the_same_run_named_twice_counts_once(finished_run):
    runs = results.find_runs([finished_run.path, finished_run.path.parent])
    assert len(runs) == 1


def test_folder_without_a_run(tmp_path):
    with pytest.raises(
        UsageError, match="with a finished level. Received: .*, where there is none"
    ):
        results.find_runs([tmp_path])


def test_output_that_cannot_be_written(finished_run, tmp_path):
    (tmp_path / "file").write_text("")
    options = ReportOptions(output_dir=str(tmp_path / "file" / "figures"))
    with pytest.raises(UsageError, match="Expected a folder that can be written to"):
        report([str(finished_run.path)], options)


@pytest.fixture(scope="module")
def browser(tmp_path_factory):
    webdriver = pytest.importorskip("selenium.webdriver")
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not chromium or not driver:
        pytest.skip("no headless browser on this machine")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in (
        "--headless",
        "--no-sandbox",
        "--disable-gpu",
        "--no-first-run",
        "--disable-background-networking",
        "--disable-component-update",
        "--disable-sync",
        f"--user-data-dir={tmp_path_factory.mktemp('browser')}",
    ):
        options.add_argument(argument)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    found = webdriver.Chrome(options=options, service=webdriver.ChromeService(driver))
    yield found
    found.quit()


@pytest.mark.parametrize("width, height", [PHONE, DESK])
def test_page_in_a_browser(files, browser, width, height):
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get(files["report.html"].as_uri())
    browser.set_script_timeout(30)
    drawn = browser.execute_async_script(
        """
        const done = arguments[0];
        const wanted = document.querySelectorAll('script[type="application/json"]').length;
        const look = () => {
          const charts = [...document.querySelectorAll('.chart canvas, .chart svg')];
          if (charts.length < wanted) return setTimeout(look, 100);
          done(charts.map(c => [c.getBoundingClientRect().left, c.getBoundingClientRect().right]));
        };
        look();
        """
    )
    assert len(drawn) == 4 + 3 + 3
    assert all(0 <= left < right <= width for left, right in drawn)
    assert browser.execute_script("return document.documentElement.scrollWidth") <= width
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []
