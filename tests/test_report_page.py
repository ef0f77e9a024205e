"""The report's page in a browser: what a person sees first, points at, and clicks."""

import collections
import dataclasses
import shutil

import pytest

from experiments.report import ReportOptions, report
from lth_tf.runs.run_dir import RunDir
from lth_tf.runs.stage import Stage
from tests.small_runs import run as run_into

PHONE, DESK = (390, 844), (1280, 900)


@pytest.fixture(scope="module")
def page(finished_run, digits, tmp_path_factory):
    """The page of two seeds, each with both kinds of control."""
    folder = tmp_path_factory.mktemp("runs") / "lenet" / "default"
    shutil.copytree(finished_run.path, folder / "seed_0")
    config = dataclasses.replace(finished_run.config(), seed=1)
    run_into(folder / "seed_1", config, digits)
    files = report([str(folder)], ReportOptions(output_dir=str(folder / "report")))
    return files[0], [RunDir(folder / f"seed_{seed}") for seed in (0, 1)]


def drawn(browser):
    """Waits until every chart is drawn and returns the places of those that are seen."""
    return browser.execute_async_script(
        """
        const done = arguments[0];
        const look = () => {
          const seen = [...document.querySelectorAll('.panel')].filter(p => !p.hidden);
          const charts = seen.map(p => p.querySelector('svg.marks'));
          const views = seen.every(p => p.querySelector('.chart').view);
          if (charts.length === 0 || charts.includes(null) || !views) return setTimeout(look, 50);
          done(charts.map(c => {
            const {left, right, top, bottom} = c.getBoundingClientRect();
            return {left, right, height: bottom - top};
          }));
        };
        look();
        """
    )


def opened(browser, page, size, scheme="light"):
    width, height = size
    browser.execute_cdp_cmd(
        "Emulation.setEmulatedMedia",
        {"features": [{"name": "prefers-color-scheme", "value": scheme}]},
    )
    browser.execute_cdp_cmd(
        "Emulation.setDeviceMetricsOverride",
        {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500},
    )
    browser.get(page.as_uri())
    return drawn(browser)


def within(browser, selector, width):
    """Checks that everything a selector finds is seen between the edges of the screen."""
    boxes = browser.execute_script(
        "return [...document.querySelectorAll(arguments[0])].map(e => e.getBoundingClientRect())",
        selector,
    )
    assert boxes
    for box in boxes:
        assert 0 <= box["left"] < box["right"] <= width, selector
        assert box["bottom"] > box["top"], selector


@pytest.mark.parametrize("size", [PHONE, DESK])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everything_fits_on_the_screen(page, browser, size, scheme):
    charts = opened(browser, page[0], size, scheme)
    names = browser.execute_script(
        "return [...document.querySelectorAll('.chart')].map(c => c.id.split('-')[0])"
    )
    assert len(charts) == len(names)
    numbers = collections.Counter(names)
    assert [numbers[name] for name in ("tickets", "curves", "iterations", "signs")] == [4, 3, 3, 4]
    assert all(0 <= chart["left"] < chart["right"] <= size[0] for chart in charts)
    assert len({chart["height"] for chart in charts}) == 1
    assert browser.execute_script("return document.documentElement.scrollWidth") <= size[0]
    for selector in ("#summary", "#summary td:not(:empty)", ".legend button"):
        within(browser, selector, size[0])
    browser.execute_script("document.querySelectorAll('details').forEach(d => d.open = true)")
    if size == DESK:
        within(browser, "details table", size[0])
    background = browser.execute_script("return getComputedStyle(document.body).backgroundColor")
    assert background == {"light": "rgb(255, 255, 255)", "dark": "rgb(22, 22, 22)"}[scheme]
    assert [entry for entry in browser.get_log("browser") if entry["level"] != "INFO"] == []


def test_the_summary_comes_first_and_says_what_each_series_came_to(page, browser):
    opened(browser, page[0], DESK)
    rows = browser.execute_script(
        "return [...document.querySelectorAll('#summary tbody tr')]"
        ".map(r => [...r.children].map(c => c.innerText))"
    )
    assert [row[:3] for row in rows] == [
        ["lenet on digits", series, "2"] for series in ("tickets", "random mask", "random reinit")
    ]
    dense = [run.summary(Stage(0))["early_stop_test_accuracy"] for run in page[1]]
    low, high = sorted(100 * value for value in dense)
    assert rows[0][3] == f"{(low + high) / 2:.2f} ({low:.2f}–{high:.2f})"
    order = browser.execute_script(
        "return [...document.querySelectorAll('h1, #summary, .legend, h2, details')]"
        ".map(e => e.id || e.className || e.tagName)"
    )
    assert order[:4] == ["H1", "summary", "legend", "legend"]
    assert order[-2:] == ["DETAILS", "DETAILS"] and set(order[4:-2]) == {"H2"}


def test_the_tooltip_is_that_of_the_nearest_point_and_fewer_iterations_are_better(page, browser):
    from selenium.webdriver import ActionChains

    opened(browser, page[0], DESK)
    chart = browser.find_element("css selector", "#tickets-0 svg.marks")
    browser.execute_script("arguments[0].scrollIntoView({block: 'center'})", chart)
    # Off every point: nothing is met exactly.
    size = chart.size
    ActionChains(browser).move_to_element_with_offset(
        chart, -round(0.3 * size["width"]), -round(0.2 * size["height"])
    ).perform()
    shown = browser.execute_async_script(
        """
        const done = arguments[0];
        const look = () => {
          const tip = document.querySelector('#vg-tooltip-element.visible');
          if (!tip) return setTimeout(look, 50);
          done(Object.fromEntries([...tip.querySelectorAll('tr')].map(
            row => [...row.children].map(cell => cell.innerText.replace(/:$/, '')))));
        };
        look();
        """
    )
    assert shown["trainings"] == "2"
    control = {"tickets": "", "random reinit": "reinit_0", "random mask": "random_0"}
    level = [100.0, 80.04, 64.06].index(float(shown["% remaining"]))
    stops = [
        run.summary(Stage(level, control[shown["series"]]))["early_stop_iteration"]
        for run in page[1]
    ]
    assert (shown["best"], shown["worst"]) == (str(min(stops)), str(max(stops)))
    assert float(shown["mean"]) == sum(stops) / 2


def test_a_click_on_the_legend_shows_a_series_alone_and_another_all(page, browser):
    opened(browser, page[0], PHONE)
    lines = """
        return ['tickets-1', 'curves-0', 'curves-1', 'curves-2'].map(name => {
          const place = document.getElementById(name);
          return place.parentElement.hidden ? null :
            new Set([...place.querySelectorAll('.mark-line path')].map(
              p => getComputedStyle(p).stroke)).size;
        });
    """
    assert browser.execute_script(lines) == [3, 2, 2, 2]
    button = browser.find_element("css selector", '[data-value="random reinit"]')
    button.click()
    drawn(browser)
    assert button.get_attribute("aria-pressed") == "true"
    assert browser.execute_script(lines) == [1, None, None, 2]
    browser.find_element("css selector", '[data-field="remaining"]').click()
    drawn(browser)
    assert browser.execute_script(lines)[3] == 1
    for pressed in browser.find_elements("css selector", '[aria-pressed="true"]'):
        pressed.click()
    drawn(browser)
    assert browser.execute_script(lines) == [3, 2, 2, 2]


def test_a_size_has_one_colour_in_all_charts(page, browser):
    opened(browser, page[0], DESK)
    colours = browser.execute_script(
        """
        const of = name => [...document.querySelectorAll(`#${name} .mark-line path`)].map(
          p => getComputedStyle(p).stroke).sort().join();
        const legend = field => [...document.querySelectorAll(`[data-field=${field}] i`)].map(
          i => getComputedStyle(i).backgroundColor).sort().join();
        return [of('curves-0'), of('curves-1'), of('curves-2'), legend('remaining'),
                of('tickets-0'), of('iterations-2'), legend('series')];
        """
    )
    assert len(set(colours[:4])) == 1 and len(set(colours[4:])) == 1
