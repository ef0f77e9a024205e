import time

import pytest

from experiments.display import Display
from lth_tf.config import ExperimentConfig
from lth_tf.runs.history import Evaluation
from lth_tf.runs.stage import Stage

SUMMARY = {
    "level": 12,
    "control": "random_mask_0",
    "density": 0.0512,
    "early_stop_iteration": 12_300,
    "early_stop_test_accuracy": 1.0,
    "final_test_accuracy": 0.98125,
    "seconds": 1234.56,
}


@pytest.mark.parametrize("columns", [60, 80, 120])
def test_the_table_fits_the_terminal(monkeypatch, capsys, columns):
    monkeypatch.setenv("COLUMNS", str(columns))
    display = Display(ExperimentConfig(), "header")
    display.run_started(266_200)
    display.stage_finished(Stage(12, "random_mask_0"), SUMMARY)
    head, row = capsys.readouterr().out.splitlines()[-2:]
    assert len(head) <= columns and len(row) <= columns
    assert "12,300" in row and "100.00 %" in row
    assert ("seconds" in head) == (columns >= 80)


def test_without_a_terminal_there_are_signs_of_life(capsys):
    display = Display(ExperimentConfig(iterations=500), "header", sign_of_life_seconds=0.02)
    display.stage_started(Stage(3), 0.512, 0)
    time.sleep(0.1)
    display.evaluated(Stage(3), Evaluation(200, 0.3, 0.25, 0.9, None))
    time.sleep(0.1)
    display.close()
    lines = [line.partition(" ")[2] for line in capsys.readouterr().err.splitlines()]
    assert lines[0] == "level_03: iteration 0 of 500"
    assert "level_03: iteration 200 of 500, validation 0.2500, 90.00 %" in lines
    time.sleep(0.05)
    assert capsys.readouterr().err == ""


def test_the_estimate_is_of_what_is_compiled(capsys, monkeypatch):
    """Compiling takes 5 s before the first evaluation and 10 s in the first interval."""
    display = Display(ExperimentConfig(iterations=1000, levels=1, dataset="digits"), "header")
    display.stage_started(Stage(0), 1.0, 0)
    for second, iteration in ((5, 0), (15, 100), (16, 300), (17, 500), (19, 1000)):
        monkeypatch.setattr(time, "monotonic", lambda second=second: second)
        display.evaluated(Stage(0), Evaluation(iteration, 0.3, 0.25, 0.9, None))
    monkeypatch.undo()
    display.close()
    assert "2 trainings at 200 iterations/s" in capsys.readouterr().err
