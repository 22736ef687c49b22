"""Raw data, as a source gives them before they are checked, split and scaled."""

import json
import re
import warnings
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from klsearch.vae.data.rows import is_small
from klsearch.vae.host.machine import free_memory

DATA_COLUMNS = "[data.columns]"
"""Where a definition says what a column of a table is."""
MISSING_WORDS = ("", "NA", "N/A", "n/a", "NaN", "nan", "<NA>", "NULL", "null", "None")
"""What text says where nothing is known, as pandas knows it; NumPy writes some of them where it makes text of NaN."""
_PART = re.compile(r"\[\d+\]$")
_BARE_KEY = re.compile(r"[A-Za-z0-9_-]+")


class DataProblem(ValueError):
    """Data that cannot be read or trained on; the message names what, where, and the way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """Why a column of a table cannot be data.

    Attributes:
        what: it holds instead, such as "dates".
        message: in full: what, where, and the way out.
        first: of these the first, with its place, as `cell` words it; empty where that says nothing more.
    """

    what: str
    message: str
    first: str = ""

    @property
    def words(self) -> str:
        """What it holds, with the first: "dates: '2020-01-01' at row 0 (counted from 0, line 2)"."""
        return f"{self.what}: {self.first}" if self.first else self.what


class NothingLeft(DataProblem):
    """A table without a column to train on."""


class ColumnProblem(DataProblem):
    """Columns of a table that cannot be data, which may be left out.

    Args:
        refusals: by column.
    """

    def __init__(self, refusals: Mapping[str, Refusal]) -> None:
        first, *more = refusals
        also = ", ".join(f"'{column}' ({refusals[column].what})" for column in more)
        message = refusals[first].message
        super().__init__(f"{message}; nor can {also} be data" if also else message)
        self.refusals = dict(refusals)


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """A column of a table that is data.

    Attributes:
        name: as the table has it.
        kind: "number", "truth value", "count" or "category".
        categories: the words of a category, each a column of 0 and 1 named "name=word"; a word that is none of them is
            0 in all.
    """

    name: str
    kind: str
    categories: tuple[str, ...] = ()


def owners_of(table: Iterable[Column] | None) -> tuple[Column, ...]:
    """Of each place of a row the column that it stands for, a category for each of its words; empty for no table.

    >>> [one.name for one in owners_of([Column(name="sex", kind="category", categories=("f", "m"))])]
    ['sex', 'sex']
    """
    return tuple(
        column for column in table or () for _ in range(len(column.categories) if column.kind == "category" else 1)
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RawData:
    """Rows as their source holds them.

    Attributes:
        name: what messages call the source.
        rows: any numeric dtype, shape [N, *row shape], perhaps mapped from a file; what it holds is for
            `vae.data.checks` to judge.
        columns: the names of a table's columns; None where they have none.
        table: the columns as the table has them, of which words became several; None where it is no table.
        labels: a label for each row, shape [N].
        group: for each row what keeps it together with others, shape [N].
        split: for each row the name of its split, shape [N].
        conditions: what is told of each row, by name, shape [N] or [N, numbers].
        first_line: the line of row 0 in a text file whose every row is one line; None elsewhere.
        notes: what the reader did that its user may not expect.
    """

    name: str
    rows: np.ndarray
    columns: tuple[str, ...] | None = None
    table: tuple[Column, ...] | None = None
    labels: np.ndarray | None = None
    group: np.ndarray | None = None
    split: np.ndarray | None = None
    conditions: Mapping[str, np.ndarray] = field(default_factory=dict)
    first_line: int | None = None
    notes: tuple[str, ...] = ()

    def place(self, row: int, *feature: int) -> str:
        """A row, or one of its values, as a reader finds it: "column 'age', row 4 (counted from 0), line 6"."""
        line = f", line {row + self.first_line}" if self.first_line is not None else ""
        return f"{self.feature_name(*feature)}row {row} (counted from 0){line}"

    def feature_name(self, *feature: int) -> str:
        """The column or pixel, ready to stand before a row; empty for none."""
        if not feature:
            return ""
        if self.columns is not None:
            return f"column '{self.columns[feature[0]]}', "
        return f"column {feature[0]}, " if len(feature) == 1 else f"pixel {list(feature)}, "


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """A request for a part of a source.

    Attributes:
        source: as the user wrote it: "digits", "fashion-mnist", "mnist", a file (.npy, .npz, .csv, .parquet), a folder
            of images or of IDX files, or "package.module:function".
        folder: what a relative path is relative to, and where the user's own modules are looked for.
        array: name of the array in an .npz.
        rows: only the first so many; None for all.
        labels: column (or array in an .npz) of labels, which is not trained on.
        group: column (or array) whose equal values stay together in one split, which is not trained on.
        split_column: column (or array) that names each row's split.
        condition: columns (or arrays) that are told of each row instead of being learned.
        columns: for columns of a table whose guess is wrong, "number", "category", "count" or "ignore".
    """

    source: str
    folder: Path
    array: str | None = None
    rows: int | None = None
    labels: str | None = None
    group: str | None = None
    split_column: str | None = None
    condition: tuple[str, ...] = ()
    columns: Mapping[str, str] = field(default_factory=dict)

    @property
    def path(self) -> Path:
        """The source taken for a path."""
        return self.folder / Path(self.source).expanduser()

    @property
    def beside_rows(self) -> dict[str, str]:
        """The columns that say something about the rows without being data, by the key that names them."""
        named = {"labels": self.labels, "group": self.group, "split_column": self.split_column}
        return {key: column for key, column in named.items() if column is not None}

    @property
    def beside_keys(self) -> tuple[str, ...]:
        """The keys that name such columns."""
        return (*self.beside_rows, *(["condition"] if self.condition else []))

    def refuse(self, *keys: str, because: str) -> None:
        """Refuse the keys, among `array` and `beside_keys`, that this source cannot use."""
        given = [key for key in keys if getattr(self, key) is not None]
        if given == ["condition"]:
            named = ", ".join(map(repr, self.condition))
            raise DataProblem(f"{self.source}: data.condition = [{named}] cannot be used: {because}")
        if given:
            raise DataProblem(f"{self.source}: data.{given[0]} = '{getattr(self, given[0])}' cannot be used: {because}")


def cell(value: object, row: int, first_line: int | None) -> str:
    """A value of a table with its place: "'oops' at row 2 (counted from 0, line 4)"."""
    line = f", line {row + first_line}" if first_line is not None else ""
    return f"{str(value)!r} at row {row} (counted from 0{line})"


def is_of_condition(key: str, conditions: Collection[str]) -> bool:
    """Tell whether a key is the name of a condition, or of one of its numbers.

    >>> is_of_condition("age", ["age"]), is_of_condition("age[1]", ["age"]), is_of_condition("ages", ["age"])
    (True, True, False)
    """
    return key in conditions or _PART.sub("", key) in conditions


def toml_key(key: str) -> str:
    """A key as TOML writes it: in quotes where it needs them.

    >>> [toml_key(key) for key in ("age", "a b", "größe", "")]
    ['age', '"a b"', '"größe"', '""']
    """
    return key if _BARE_KEY.fullmatch(key) else toml_text(key)


def toml_text(text: str) -> str:
    """Text as TOML writes it, on one line."""
    # As JSON writes it, but for one character that TOML wants escaped.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


@contextmanager
def reading(place: str) -> Iterator[None]:
    """A block that reads what others wrote; whatever it raises becomes a DataProblem that names the place.

    Warnings of the libraries that read are not shown.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except DataProblem:
        raise
    except Exception as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or " ".join(str(error).split())
        raise DataProblem(f"{place}: cannot be read: {reason[:300] or type(error).__name__}") from error


def refuse_beyond_memory(name: str, values: int, dtype: np.dtype | None) -> None:
    """Refuse data that would not fit into the memory that is free now, with their float32 copy if they need one.

    Args:
        name: what messages call them.
        values: how many they are.
        dtype: as they are read; None for those that only their float32 copy holds.

    Raises:
        DataProblem: with both numbers.
    """
    held = 0 if dtype is None else dtype.itemsize
    copied = 0 if dtype is not None and is_small(dtype) else 4
    needed, free = values * (held + copied), free_memory()
    if needed > free:
        raise DataProblem(
            f"{name}: {values:,} values need about {needed / 1e9:,.1f} GB of memory, but {free / 1e9:,.1f} GB are "
            f"free; take only the first rows with data.rows"
        )


def find_missing(values: np.ndarray) -> np.ndarray:
    """Which values of an array of any dtype are missing, in its shape: not finite, blank, or pandas' and NumPy's none.

    Words that say so count in arrays of text alone, where nothing else can; among objects they are words.
    """
    kind = values.dtype.kind
    if kind in "fc":
        return np.asarray(~np.isfinite(values))
    if kind in "mM":
        return np.asarray(np.isnat(values))
    if kind in "US":
        return np.asarray(np.isin(np.char.strip(values), np.array(MISSING_WORDS, kind)))
    if kind in "OT":  # T is NumPy's text of any length, which may hold a none of its own
        return _find_missing_objects(values.astype(object), MISSING_WORDS if kind == "T" else MISSING_WORDS[:1])
    return np.zeros(values.shape, bool)


def _find_missing_objects(values: np.ndarray, words: Sequence[str]) -> np.ndarray:
    import pandas as pd

    missing = np.array(pd.isna(values), bool)
    said = [isinstance(value, str | bytes) and (not value.strip() or value.strip() in words) for value in values.flat]
    missing |= np.array(said, bool).reshape(values.shape)
    return missing


def missing_word(value: object) -> str:
    """What a missing value says, to stand behind its place: ", which says 'None'"; empty where that is no word."""
    return f", which says {str(value)!r}" if isinstance(value, str) and value.strip() else ""


def count_rows(count: int) -> str:
    """So many rows in words.

    >>> count_rows(1), count_rows(1200)
    ('1 row', '1,200 rows')
    """
    return "1 row" if count == 1 else f"{count:,} rows"


def refuse_missing(name: str, column: str, values: np.ndarray) -> None:
    """Refuse a column of labels, groups or splits that leaves rows without one; its values have shape [N].

    Raises:
        DataProblem: with the first such row.
    """
    missing = find_missing(values)
    if missing.any():
        first = int(np.argmax(missing))
        raise DataProblem(
            f"{name}: column '{column}' has no value in {count_rows(int(missing.sum()))}, the first at row {first} "
            f"(counted from 0){missing_word(values[first])}; fill it in or remove those rows"
        )
