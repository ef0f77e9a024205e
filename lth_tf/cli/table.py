"""Text tables that fit the terminal."""

import dataclasses
import shutil
from collections.abc import Sequence

Cells = Sequence[str]

_SHORTEST = 24  # characters of a column that shrinks


@dataclasses.dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: its head.
        width: of its cells at least, in characters; the title's if that is longer.
        left: True for text, False for numbers.
        drop: columns that are too many for a terminal go from the highest number down;
            0 stays.
        shrink: True for text that loses its middle where the terminal is narrow; only in
            tables whose rows are all known.
    """

    title: str
    width: int = 0
    left: bool = False
    drop: int = 0
    shrink: bool = False

    @property
    def characters(self) -> int:
        """The width of cells and title."""
        return max(self.width, len(self.title))


class Table:
    """Lines of a table whose rows become known one by one.

    Two blanks stand between columns, one where the terminal is narrow; where that does not
    help, columns are left out.

    Args:
        columns: what a row has.
        width: characters in a line; None for the terminal's, 80 without one.

    Example:
    >>> table = Table([Column("name", left=True), Column("bytes", 9), Column("note", drop=1)], 16)
    >>> table.head()
    'name      bytes'
    >>> table.row(["a", "1,234", "left out"])
    'a         1,234'
    """

    def __init__(self, columns: Sequence[Column], width: int | None = None):
        width = terminal_width() if width is None else width
        self._columns = list(columns)
        self._shown, self._gap = self._fitting(width)

    def head(self) -> str:
        """Returns the line of the titles."""
        return self.row([column.title for column in self._columns])

    def row(self, cells: Cells) -> str:
        """Returns a line; a cell for every column, those that are not shown as well."""
        line = self._gap.join(self._cell(self._columns[i], cells[i]) for i in self._shown)
        return line.rstrip()

    def _fitting(self, width: int) -> tuple[list[int], str]:
        """Returns the columns that are shown, and what stands between them."""
        shown = list(range(len(self._columns)))
        while True:
            for gap in (2, 1):
                characters = sum(self._columns[i].characters for i in shown)
                if characters + gap * (len(shown) - 1) <= width:
                    return shown, " " * gap
            last = max(shown, key=lambda i: self._columns[i].drop)
            if not self._columns[last].drop:
                return shown, " "
            shown.remove(last)

    @staticmethod
    def _cell(column: Column, cell: str) -> str:
        return cell.ljust(column.characters) if column.left else cell.rjust(column.characters)


def table(columns: Sequence[Column], rows: Sequence[Cells], width: int | None = None) -> str:
    """Returns a table whose rows are all known; columns are as wide as their cells.

    Example:
    >>> print(table([Column("name", left=True), Column("bytes")], [["a.tflite", "12"]], 40))
    name      bytes
    a.tflite     12
    """
    width = terminal_width() if width is None else width
    fitted = [
        dataclasses.replace(column, width=max([len(row[i]) for row in rows], default=0))
        for i, column in enumerate(columns)
    ]
    others = sum(c.characters + 2 for c in fitted if not c.shrink)
    for i, column in enumerate(fitted):
        if column.shrink and column.characters > max(_SHORTEST, width - others):
            fitted[i] = dataclasses.replace(column, width=max(_SHORTEST, width - others))
    lines = Table(fitted, width)
    cut = [[_cut(cell, fitted[i]) for i, cell in enumerate(row)] for row in rows]
    return "\n".join([lines.head(), *map(lines.row, cut)])


def _cut(cell: str, column: Column) -> str:
    """Returns a cell without its middle if its column has shrunk: paths differ at their ends."""
    if not column.shrink or len(cell) <= column.characters:
        return cell
    begin = (column.characters - 1) // 3
    return f"{cell[:begin]}…{cell[len(cell) - (column.characters - 1 - begin) :]}"


def terminal_width() -> int:
    """Returns the characters in a line of the terminal, 80 if there is none."""
    return shutil.get_terminal_size((80, 24)).columns
