"""Conditions: what is told of each row, and given to encoder and decoder beside it."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from klsearch.vae.data.readers.raw import (
    DATA_COLUMNS,
    DataProblem,
    RawData,
    count_rows,
    find_missing,
    missing_word,
    toml_key,
)

LABELS = "labels"
"""What `data.condition` says where the labels are the condition."""
# Whole numbers of more kinds are quantities.
_MOST_CATEGORIES = 100
_NAMED = 5  # categories in a line


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionColumn:
    """One number or word that is told of each row.

    Attributes:
        name: as the source has it.
        categories: of a category, each one column of 0 and 1; of a number none.
        offset: of a number, which becomes (raw − offset) ÷ scale.
        scale: the same.
    """

    name: str
    categories: tuple[str, ...] = ()
    offset: float = 0.0
    scale: float = 1.0

    @property
    def names(self) -> list[str]:
        """The columns that it becomes."""
        return [f"{self.name}={category}" for category in self.categories] or [self.name]

    @property
    def words(self) -> str:
        """What it was taken for, such as "'ward' is one of 3 categories: a, b, c"."""
        if not self.categories:
            return f"'{self.name}' is a number" + (", standardised" if self.scale != 1 or self.offset else "")
        more = f" and {len(self.categories) - _NAMED} more" if len(self.categories) > _NAMED else ""
        return f"'{self.name}' is one of {len(self.categories)} categories: " + (
            ", ".join(self.categories[:_NAMED]) + more
        )

    def encode(self, values: np.ndarray) -> np.ndarray:
        """Float32 [n, columns] of values [n]; a category that is not known is 0 in all."""
        if self.categories:
            return np.asarray(_as_words(values)[:, np.newaxis] == np.array(self.categories), np.float32)
        scaled = (values.astype(np.float64) - self.offset) / self.scale
        return np.asarray(scaled[:, np.newaxis], np.float32)

    def decode(self, encoded: np.ndarray) -> str:
        """What one row's columns say, such as "ward a" or "age 43"."""
        if self.categories:
            return f"{self.name} {self.categories[int(np.argmax(encoded))]}"
        return f"{self.name} {float(encoded[0]) * self.scale + self.offset:.3g}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ConditionEncoding:
    """How conditions become numbers: fitted on the training rows.

    Attributes:
        columns: in the order in which models are given them.
    """

    columns: tuple[ConditionColumn, ...]

    @property
    def width(self) -> int:
        """How many numbers a row's condition is."""
        return sum(len(column.names) for column in self.columns)

    def decode(self, encoded: np.ndarray) -> str:
        """What the condition [width] of a row says, in words."""
        ends = np.cumsum([len(column.names) for column in self.columns])[:-1]
        parts = zip(self.columns, np.split(encoded, ends), strict=True)
        return ", ".join(column.decode(part) for column, part in parts)

    def as_json(self) -> dict[str, Any]:
        """The encoding as JSON values."""
        return {
            "formula": "of a category 1 in the column 'name=category', 0 in its others; of a number (raw - offset) / "
            "scale",
            "columns": [name for column in self.columns for name in column.names],
            "table": [asdict(column) for column in self.columns],
        }


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Condition:
    """The conditions of all rows.

    Attributes:
        encoding: how they became numbers.
        splits: by split, float32 [n, width].
    """

    encoding: ConditionEncoding
    splits: Mapping[str, np.ndarray]


def encode_condition(raw: RawData, rows: Mapping[str, np.ndarray], kinds: Mapping[str, str]) -> Condition:
    """The conditions of a source as numbers, by split.

    Text, truth values and whole numbers of up to 100 kinds are categories, each one column of 0 and 1; other numbers
    are standardised over the training rows. A condition of several numbers for each row is taken as it is where they
    are 0 and 1, and standardised otherwise.

    Args:
        raw: with its conditions.
        rows: row numbers by split, "train" among them.
        kinds: "category", "number" or "count", which is a number too, by condition, where the guess is wrong; of one of
            several numbers, "dose[1]", or of them all, "dose".

    Raises:
        DataProblem: a condition holds the data, lacks values, is the same for all training rows, is to be ignored, or
            holds a category in other rows that no training row has.
    """
    by_name, columns = dict[str, np.ndarray](), list[ConditionColumn]()
    for key, told in raw.conditions.items():
        for name, values in _columns(raw, key, told):
            by_name[name] = values
            columns.append(_fit(raw, key, name, values, rows["train"], kinds.get(name, kinds.get(key))))
    for column in columns:
        _refuse_unknown(raw, column, by_name[column.name], rows)
    encoding = ConditionEncoding(columns=tuple(columns))
    encoded = np.concatenate([column.encode(by_name[column.name]) for column in columns], axis=1)
    return Condition(encoding=encoding, splits={name: encoded[numbers] for name, numbers in rows.items()})


def _columns(raw: RawData, name: str, values: np.ndarray) -> Sequence[tuple[str, np.ndarray]]:
    """A condition's columns by name, checked for what every condition needs."""
    if values.shape == raw.rows.shape and np.array_equal(values, raw.rows):
        raise DataProblem(
            f"{raw.name}: the condition '{name}' holds the data themselves, so that nothing is left to learn; tell "
            "something else of each row, or leave it out of data.condition"
        )
    if values.ndim not in (1, 2) or len(values) != len(raw.rows) or not values.size:
        raise DataProblem(
            f"{raw.name}: the condition '{name}' has shape {list(values.shape)}; give one value, or some numbers, for "
            f"each of {len(raw.rows):,} rows"
        )
    missing = find_missing(values).reshape(len(values), -1)
    if missing.any():
        row, at = (int(index) for index in np.argwhere(missing)[0])
        where = raw.place(row) + missing_word(values.reshape(missing.shape)[row, at])
        raise DataProblem(
            f"{raw.name}: the condition '{name}' has no value in {count_rows(int(missing.any(axis=1).sum()))}, the "
            f"first is {where}; fill it in or remove those rows"
        )
    return [(name, values)] if values.ndim == 1 else [(f"{name}[{at}]", column) for at, column in enumerate(values.T)]


def _fit(raw: RawData, key: str, name: str, values: np.ndarray, train: np.ndarray, kind: str | None) -> ConditionColumn:
    """The column `name` of the condition `key`, which are the same unless that is several numbers."""
    part_of_many = name != key
    if kind == "ignore":
        raise DataProblem(
            f"{raw.name}: the condition '{name}' cannot be told and ignored; leave it out of [data.columns] or of "
            "data.condition"
        )
    is_number = values.dtype.kind in "iuf"
    is_asked_number = kind in ("number", "count")
    if is_asked_number and not (is_number or values.dtype.kind == "b"):
        raise DataProblem(f"{raw.name}: the condition '{name}' holds {str(values[0])!r}, which is no number")
    words = _as_words(values)
    kinds, first = np.unique((values if is_number or values.dtype.kind == "b" else words)[train], return_index=True)
    if len(kinds) < 2:
        way_out = f"remove that column from '{key}'" if part_of_many else "leave it out of data.condition"
        raise DataProblem(
            f"{raw.name}: the condition '{name}' is {kinds[0]} in all {len(train):,} training rows, so it tells "
            f"nothing; {way_out}"
        )
    whole = not is_number or bool(np.all(values == np.round(values)))
    if kind == "category" or (kind is None and not part_of_many and whole and _are_few(kinds, is_number)):
        return ConditionColumn(name=name, categories=tuple(str(word) for word in dict.fromkeys(words[train][first])))
    if part_of_many and np.isin(kinds, (0, 1)).all():
        return ConditionColumn(name=name)
    wide = values[train].astype(np.float64)
    return ConditionColumn(name=name, offset=float(wide.mean()), scale=float(wide.std()))


def _are_few(kinds: np.ndarray, is_number: bool) -> bool:
    return not is_number or len(kinds) <= _MOST_CATEGORIES


def _as_words(values: np.ndarray) -> np.ndarray:
    """Categories as text: whole numbers without a point where all values are; so give all of a condition's."""
    whole = values.dtype.kind == "f" and bool(np.all(values == np.round(values)))
    return (values.astype(np.int64) if whole else values).astype(np.str_)


def _refuse_unknown(raw: RawData, column: ConditionColumn, values: np.ndarray, rows: Mapping[str, np.ndarray]) -> None:
    if not column.categories:
        return
    words = _as_words(values)
    unknown = ~np.isin(words, column.categories)
    for split, numbers in rows.items():
        found = numbers[unknown[numbers]]
        if found.size:
            count = f"1 {split} row" if found.size == 1 else f"{found.size:,} {split} rows"
            quantity = f'; a quantity is {DATA_COLUMNS} {toml_key(column.name)} = "number"'
            raise DataProblem(
                f"{raw.name}: the condition '{column.name}' is '{words[found[0]]}' in no training row, but in "
                f"{raw.place(int(found[0]))}, one of {count} with a category that training lacks; remove them, or give "
                f"some to training with data.split_column{quantity if values.dtype.kind in 'iuf' else ''}"
            )
