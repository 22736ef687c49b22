"""Why a column of a table cannot be data: what it holds, where, and the way out."""

import re
from typing import TYPE_CHECKING, Any

from klsearch.vae.data.readers.raw import DATA_COLUMNS, Refusal, cell, toml_key
from klsearch.vae.data.readers.tables.dates import are_dates, find_dates
from klsearch.vae.data.readers.tables.numerals import find_other

if TYPE_CHECKING:
    import pandas as pd

_NUMBER = r"[-+−]?\d[\d.,]*(?:[eE][-+]?\d+)?"
_CURRENCY = r"(?:[$€£¥₹]|USD|EUR|GBP|CHF|JPY)"
_MEASURED = {  # numbers with a sign that says what they measure: the column's kind, its value's, and the way out
    rf"{_NUMBER}\s*%": ("percentages", "is a percentage", "write it without %"),
    rf"[-+−]?\s*{_CURRENCY}\s*{_NUMBER}|{_NUMBER}\s*{_CURRENCY}": (
        "amounts of money",
        "is an amount of money",
        "write it without the currency",
    ),
}
_SPELLED = {
    **_MEASURED,
    r"[-+−]?\d{1,3}(?:[.,'’\s]\d{3})+(?:[.,]\d+)?": (
        "marks between thousands",
        "has marks between thousands",
        "write it without them",
    ),
    rf"{_NUMBER}(?:\s+{_NUMBER})+": (
        "several numbers in one",
        "is several numbers",
        "separate them by commas, semicolons, tabs or bars",
    ),
}
_NO_NUMBERS = "no numbers"
_MOSTLY = 0.5


def are_measured(values: "pd.Series[Any]") -> bool:
    """Tell whether most values of a column of text are percentages or amounts of money."""
    text = values.dropna().astype(str).str.strip()
    return any(text.str.fullmatch(pattern).mean() > _MOSTLY for pattern in _MEASURED)


def refuse_texts(name: str, column: str, values: "pd.Series[Any]", distinct: int) -> Refusal:
    """The refusal of a column of too many words."""
    return Refusal(
        what="texts, like an id",
        message=f"{name}: column '{column}' holds {distinct:,} different texts in {len(values):,} rows, like an id; "
        f'leave it out by {DATA_COLUMNS} {toml_key(column)} = "ignore", or take it by "category"',
    )


def refuse_nested(name: str, column: str, kind: str) -> Refusal:
    """The refusal of a column whose every value holds several, as one of lists does."""
    return Refusal(
        what="lists or the like",
        message=f"{name}: column '{column}' holds several values in each row ({kind}), which is no number; give each a "
        f'column of its own, or leave it out by {DATA_COLUMNS} {toml_key(column)} = "ignore"',
    )


def refuse_large_texts(name: str, column: str, needed: int, free: int) -> Refusal:
    """The refusal of a column without whose texts, of so many bytes, a table may fit into memory."""
    return Refusal(
        what="texts beyond memory",
        message=f"{name}: its texts, of which column '{column}' holds the most, need about {needed / 1e9:,.1f} GB of "
        f"memory, but {free / 1e9:,.1f} GB are free; leave it out by {DATA_COLUMNS} {toml_key(column)} = "
        '"ignore", or take only the first rows with data.rows',
    )


def refuse_others(name: str, column: str, values: "pd.Series[Any]", first_line: int | None) -> Refusal:
    """The refusal of a column that holds something else than numbers, or beside them, with the first of that."""
    others = find_other(values)
    if dates := are_dates(values):
        others = find_dates(values).to_numpy(dtype=bool)
    row, known = int(others.argmax()), int(values.notna().sum())
    where, numbers = cell(values.iloc[row], row, first_line), 0 if dates else known - int(others.sum())
    what, is_what, way_out = ("dates", "is a date", "turn it into numbers") if dates else _judge(str(values.iloc[row]))
    first, among = where, ""
    if what == _NO_NUMBERS and numbers > _MOSTLY * known:
        what, among = "not all numbers", f", as {numbers:,} of {known:,} values are"
        first = f"{numbers:,} of {known:,} are, the first that is not: {where}"
    return Refusal(
        what=what,
        first=first,
        message=f"{name}: column '{column}' holds {where}, which {is_what}{among}; {way_out}, leave it out by "
        f'{DATA_COLUMNS} {toml_key(column)} = "ignore", or name it as data.labels, data.group or data.split_column',
    )


def _judge(value: str) -> tuple[str, str, str]:
    """What a column with such a value holds, what the value is, and the way out."""
    found = (words for pattern, words in _SPELLED.items() if re.fullmatch(pattern, value.strip()))
    return next(found, (_NO_NUMBERS, "is no number", "turn it into numbers"))
