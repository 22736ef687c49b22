"""Numbers as tables spell them: with decimal commas, with marks for what is missing, with marks between thousands."""

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.raw import DATA_COLUMNS, MISSING_WORDS, Refusal, cell, toml_key

if TYPE_CHECKING:
    import pandas as pd

# Beside those that pandas knows; only where the rest of a column are numbers, for "-" may be a word.
_MARKS = ("?", "-")
_ERRORS = r"#¡?[^\W\d_]+(/0)?[!?]|#N/[AD]|#NV"  # of spreadsheets in any language: #VALUE!, #DIV/0!, #WERT!, #NOMBRE?
_MISSING = (*_MARKS, *MISSING_WORDS)  # the words, which pandas knows, may have blanks about them here
_MINUS = "\N{MINUS SIGN}"
_THOUSAND = 1000
_FLAT = r"[-+]?\d{1,3}"  # needs no mark between thousands
_GROUPED = r"[-+]?[1-9]\d{{0,2}}{mark}\d{{3}}"  # as 1,234 is, be it 1234 or 1.234


@dataclass(frozen=True, slots=True, kw_only=True)
class Numerals:
    """A table whose columns of numbers are numbers.

    Attributes:
        frame: the table.
        notes: what was taken for what.
        doubtful: the row of the first value with a mark that may stand between thousands or before decimals, by column.
    """

    frame: "pd.DataFrame"
    notes: list[str]
    doubtful: dict[str, int]


def read_numerals(
    frame: "pd.DataFrame", *, separator: str, read_again: Callable[[list[str]], "pd.DataFrame"]
) -> Numerals:
    """Read the columns of text that only decimal commas or marks for missing keep from being numbers.

    Args:
        frame: the table.
        separator: between its values. A comma is no decimal one where it is that, and a dot is in doubt only beside
            decimal commas, or semicolons, which are used where commas are decimal ones.
        read_again: gives columns of it as the text that they are in the file.
    """
    read, minus, doubtful = dict[str, "pd.Series[Any]"](), list[str](), dict[str, int]()
    commas = dict[str, str]()  # with the first value of each such column that has one
    marks, marked = set[str](), list[str]()
    for column in frame.columns:
        if is_numeric(frame[column]):
            continue
        text, plain = _plain(frame[column])
        with_comma = separator != "," and bool(plain.str.contains(",", regex=False).any())
        numbers = _to_numbers(plain, comma=with_comma)
        if plain.isna().all() or (numbers.isna() & plain.notna()).any():
            continue
        read[column] = numbers.astype("float64")
        commas |= {column: plain[plain.str.contains(",", regex=False).fillna(False)].iloc[0]} if with_comma else {}
        minus += [column] if text.str.contains(_MINUS, regex=False).any() else []
        found = set(text[plain.isna()].dropna()) - set(MISSING_WORDS)
        marks |= found
        marked += [column] if found else []
        if with_comma and (row := _first_doubtful(plain, ",")) is not None:
            doubtful[column] = row
    notes = [f"decimal commas in {list_columns(list(commas))}, {_decimal_words(commas)}"] if commas else []
    notes += [f"{_MINUS!r} is taken for a minus in {list_columns(minus)}"] if minus else []
    taken = f"{' and '.join(map(repr, sorted(marks)))} {'is' if len(marks) == 1 else 'are'} taken for missing"
    notes += [f"{taken} in {list_columns(marked)}"] if marked else []
    may_be_grouped = commas or separator == ";"
    dotted = [column for column in frame.columns if _may_be_grouped(frame[column])] if may_be_grouped else []
    texts = read_again(dotted) if dotted else frame.iloc[:, :0]
    for column in texts.columns:
        if (row := _first_doubtful(texts[column].str.strip(), ".", is_other_mark=bool(commas))) is not None:
            doubtful[column] = row
    return Numerals(frame=frame.assign(**read), notes=notes, doubtful=doubtful)


def refuse_doubtful(
    name: str, column: str, value: object, row: int, first_line: int | None, *, is_label: bool
) -> Refusal:
    """The refusal of a column in which 1,234 may be 1234, or 1.234 in a file with decimal commas."""
    by_key = f'if decimals follow that mark, say so by {DATA_COLUMNS} {toml_key(column)} = "number"'
    way_out = "decimals in every row, such as 5,0 for 5" if is_label else by_key  # labels have no such key
    where = cell(value, row, first_line)
    digits = str(value).strip().replace(",", ".")
    return Refusal(
        what="marks before decimals or between thousands",
        first=where,
        message=f"{name}: column '{column}' holds {where}, which may be {digits.replace('.', '')} as well as {digits}; "
        f"write thousands without separators, or{' ' if is_label else ', '}{way_out}",
    )


def find_other(values: "pd.Series[Any]") -> np.ndarray:
    """Which values of a column that cannot be data are neither numbers nor missing; all of them where all are numbers.

    Commas are decimal ones where that leaves fewer.
    """
    _, plain = _plain(values)
    found = [(_to_numbers(plain, comma=comma).isna() & plain.notna()).to_numpy(dtype=bool) for comma in (False, True)]
    fewest = min((others for others in found if others.any()), key=np.sum, default=values.notna().to_numpy())
    return np.asarray(fewest, bool)


def _plain(values: "pd.Series[Any]") -> tuple["pd.Series[Any]", "pd.Series[Any]"]:
    """A column's text; and the same with a plain minus, and with nothing where a mark stands for what is missing."""
    text = values.astype("string").str.strip()
    plain = text.mask(text.isin(_MISSING) | text.str.fullmatch(_ERRORS).fillna(False))
    return text, plain.str.replace(_MINUS, "-", regex=False)


def _decimal_words(commas: Mapping[str, str]) -> str:
    """An example of decimals by column, where there is one of such as may be thousands."""
    value = next((value for value in commas.values() if re.fullmatch(_GROUPED.format(mark=","), value)), None)
    value = next(iter(commas.values())) if value is None else value
    return f"where {value} is {value.replace(',', '.')}"


def _to_numbers(plain: "pd.Series[Any]", *, comma: bool) -> "pd.Series[Any]":
    import pandas as pd

    numbers: pd.Series[Any] = pd.to_numeric(
        plain.str.replace(",", ".", n=1, regex=False) if comma else plain, errors="coerce"
    )
    return numbers


def is_numeric(values: "pd.Series[Any]") -> bool:
    """Tell whether a column holds real numbers or truth values."""
    import pandas as pd

    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values)


def list_columns(columns: Sequence[str]) -> str:
    """The first few of some columns by name, such as "columns 'a', 'b'"."""
    more = f" and {len(columns) - 5} more" if len(columns) > 5 else ""
    return f"column{'s' * (len(columns) > 1)} {', '.join(map(repr, columns[:5]))}{more}"


def _first_doubtful(text: "pd.Series[Any]", mark: str, *, is_other_mark: bool = False) -> int | None:
    """The row of the first value whose mark may stand between thousands; None where one shows that none does.

    Data of three decimals have them in every row; where rows without any lie beside, all below 1000, the mark looks
    like one that larger numbers have and those need not.

    Args:
        text: of a column of numbers.
        mark: a comma or a dot.
        is_other_mark: whether decimals follow another one in the same file, which leaves no other reading.
    """
    marked = text.str.contains(mark, regex=False).fillna(False)
    grouped = text.str.fullmatch(_GROUPED.format(mark=f"[{mark}]")).fillna(False)
    flat = text.str.fullmatch(_FLAT).fillna(False)
    rest_is_small = bool(flat.any() and (marked | flat | text.isna()).all())
    if not marked.any() or (marked & ~grouped).any() or not (is_other_mark or rest_is_small):
        return None
    return int(marked.to_numpy(dtype=bool).argmax())


def _may_be_grouped(values: "pd.Series[Any]") -> bool:
    """Tell whether a column that was read as numbers may have dots between thousands: of three decimals at the most."""
    import pandas as pd

    if not pd.api.types.is_float_dtype(values) or values.isna().all():
        return False
    known = values.dropna()
    thousandths = known * _THOUSAND
    return bool((known.abs() < _THOUSAND).all() and ((thousandths - thousandths.round()).abs() < 1e-6).all())
