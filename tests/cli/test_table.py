import pytest

from lth_tf.cli.table import Column, Table, table, terminal_width

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
