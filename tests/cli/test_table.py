import importlib

import pytest

from experiments.tune_display import cells, table_of
from lth_tf.cli.table import Column, Table, table, terminal_width
from lth_tf.tuning.objective import Outcome, Result

COLUMNS = [
    Column("level"),
    Column("control", 12, left=True, drop=1),
    Column("accuracy", 9),
    Column("seconds", drop=2),
]
CELLS = ["3", "reinit_0", "98.10 %", "1.5"]


def lines(width):
    fitted = Table(COLUMNS, width)
    return [fitted.head(), fitted.row(CELLS)]


def test_two_blanks_where_there_is_room():
    assert lines(100) == [
        "level  control        accuracy  seconds",
        "    3  reinit_0        98.10 %      1.5",
    ]
    assert len(lines(100)[0]) == 39 and lines(39) == lines(100)


def test_one_blank_where_that_helps():
    assert lines(38) == [
        "level control       accuracy seconds",
        "    3 reinit_0       98.10 %     1.5",
    ]


def test_columns_go_by_their_number():
    assert lines(35) == ["level  control        accuracy", "    3  reinit_0        98.10 %"]
    assert lines(27) == ["level   accuracy", "    3    98.10 %"]
    assert lines(3) == lines(15) == ["level  accuracy", "    3   98.10 %"]


def test_columns_are_as_wide_as_their_cells():
    text = table([Column("run", left=True), Column("%")], [["a", "1.25"], ["long name", "3"]], 80)
    assert text.splitlines() == ["run           %", "a          1.25", "long name     3"]
    assert table([Column("run")], [], 80) == "run"


@pytest.mark.parametrize(("columns", "width"), [("50", 50), ("", 80)])
def test_the_terminal_says_how_wide(monkeypatch, columns, width):
    monkeypatch.setenv("COLUMNS", columns)
    monkeypatch.setattr("sys.__stdout__", None)
    assert terminal_width() == width


@pytest.mark.parametrize(
    ("module", "columns", "cells"),
    [
        (
            "export.report",
            "_FILES",
            "a_long_network_level_08_float32_saved_model 2,146,296 10,092,974 22.3x 1,027,893 "
            "1.33 1,151,373 9,051,373 12.345 23.456 10.72x 98.42_%",
        ),
        (
            "export.report",
            "_KERNELS",
            "a/very/long/path/of/blocks/of_layers/kernel 3x3x512x512 471,859 20.0 "
            "37,748,736 saved_model 1,887,436 coded,_unpacked_at_load",
        ),
        (
            "export.benchmark",
            "_COLUMNS",
            "resnet18 21.07 saved_model float32 227,893 4.8x 0.91 0.997 1.03 100.00_%",
        ),
        (
            "export.model_benchmark",
            "COLUMNS",
            "mobilenet_v2 20 saved_model float32 9,123,456 "
            "14,123,456 8,123,456 13,123,456 1.12 1.03 1.01 2.31 1.12 417 165 1.2e-07 -",
        ),
    ],
)
def test_tables_of_programs_fit_80_columns(module, columns, cells):
    columns = getattr(importlib.import_module(module), columns)
    row = [cell.replace("_", " ") if {"%", ","} & set(cell) else cell for cell in cells.split()]
    for width in (80, 200):
        text = table(columns, [row], width)
        assert max(map(len, text.splitlines())) <= width, text
    assert text.splitlines()[1].split() == " ".join(row).split()


def test_the_table_of_a_search_fits_80_columns(monkeypatch, tmp_path):
    monkeypatch.setenv("COLUMNS", "80")
    names = ["prune_rate_conv", "prune_rate_fc", "prune_rate_output", "learning_rate"]
    outcome = Outcome(0.1234, True, level=12, density=0.0512, accuracy=0.9876)
    values = dict(zip(names, (0.1, 0.25, 0.125, 0.00123), strict=True))
    result = Result(17, values, outcome, 13, 1234.5, tmp_path)
    table_of_trials = table_of(names)
    head, row = table_of_trials.head(), table_of_trials.row(cells(result))
    assert len(head) <= 80 and len(row) <= 80
    assert row.split() == ["17", "0.1", "0.25", "0.125", "0.00123", "12", "5.12", "98.76", "%"]
