"""Tables as lines that fit a terminal."""

import re
from collections.abc import Sequence
from itertools import zip_longest

_GAP = 2


def table_lines(rows: Sequence[Sequence[str]], *, width: int | None = None) -> list[str]:
    """Rows as aligned lines, the first row a heading, the first column to the left.

    Without a width, every row is one line. Where rows are wider than it, headings are broken between words, then names
    in the first column and lists with commas. Where that is not enough, the columns that find no room follow below,
    beside the first column once more. No line is longer than `width` unless two columns alone are.

    >>> table_lines([["", "KL per latent"], ["trial 3", "1.5"]])
    ['         KL per latent', 'trial 3            1.5']
    """
    columns = [list(cells) for cells in zip(*rows, strict=True)]
    if width is None:
        width = sum(max(map(len, cells)) + _GAP for cells in columns)
    lines: list[str] = []
    while True:
        count = _count_fitting(columns, width)
        lines += _aligned(columns[:count], width)
        if count == len(columns):
            return lines
        lines.append("")
        columns = [columns[0], *columns[count:]]


def _count_fitting(columns: Sequence[Sequence[str]], width: int) -> int:
    """Count the columns, two at least, that fit side by side in their narrowest form."""
    total = 0
    for index, cells in enumerate(columns):
        total += _narrowest(cells, index) + (_GAP if index else 0)
        if total > width and index > 1:
            return index
    return len(columns)


def _aligned(columns: Sequence[Sequence[str]], width: int) -> list[str]:
    widths = [_narrowest(cells, index) for index, cells in enumerate(columns)]
    free = width - sum(widths) - _GAP * (len(columns) - 1)
    for index, cells in enumerate(columns):  # as wide as it would like to be, while there is room
        wanted = min(max(map(len, cells)) - widths[index], max(0, free))
        widths[index] += wanted
        free -= wanted
    lines: list[str] = []
    for row in range(len(columns[0])):
        broken = [
            _break(cells[row], widths[index]) if row == 0 or _may_break(cells[row], index) else [cells[row]]
            for index, cells in enumerate(columns)
        ]
        height = max(map(len, broken))
        if row == 0:  # headings stand on their columns
            broken = [[""] * (height - len(parts)) + parts for parts in broken]
        for parts in zip_longest(*broken, fillvalue=""):
            placed = [
                part.rjust(widths[index]) if index else part.ljust(widths[index]) for index, part in enumerate(parts)
            ]
            lines.append((" " * _GAP).join(placed).rstrip())
    return lines


def _may_break(cell: str, column: int) -> bool:
    return column == 0 or "," in cell


def _narrowest(cells: Sequence[str], column: int) -> int:
    """The width that a column needs when all that may break does."""
    return max(
        max(map(len, _words(cell)), default=0) if row == 0 or _may_break(cell, column) else len(cell)
        for row, cell in enumerate(cells)
    )


def _words(text: str) -> list[str]:
    """The parts between which a text may be broken: behind spaces, commas and underscores."""
    return [part.rstrip() for part in re.findall(r"[^ ,_]*[,_]?(?: +|$)|[^ ,_]+[,_]", text) if part]


def _break(text: str, width: int) -> list[str]:
    """A text in lines that are no longer than `width`, unless a part is that may not be broken."""
    lines = [""]
    for part in re.findall(r"[^ ,_]*[,_]?(?: +|$)|[^ ,_]+[,_]", text):
        if lines[-1] and len((lines[-1] + part).rstrip()) > width:
            lines.append("")
        lines[-1] += part
    return [line.rstrip() for line in lines]
