"""The columns of a table: what each is taken for, and the numbers that words become."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.raw import DATA_COLUMNS, Column, ColumnProblem, DataProblem, NothingLeft, Refusal
from klsearch.vae.data.readers.tables.dates import are_dates
from klsearch.vae.data.readers.tables.numerals import Numerals, is_numeric, read_numerals
from klsearch.vae.data.readers.tables.refusals import are_measured, refuse_others, refuse_texts

if TYPE_CHECKING:
    import pandas as pd

_MOST_CATEGORIES = 50  # more are likely names or texts
_MOST_WHOLE = 2**53  # up to which float64 has all whole numbers
_LIKE_NUMBER = r"\s*[-+]?[\d.,'\s]*\d[\d.,'\s]*(?:[eE][-+]?\d+)?\s*"  # also with marks between thousands


@dataclass(frozen=True, slots=True, kw_only=True)
class Encoded:
    """The data columns of a table as numbers.

    Attributes:
        frame: one column for each number, one for each category of a column of words.
        columns: those of the table that are data, in its order.
        notes: what was done to them.
    """

    frame: "pd.DataFrame"
    columns: tuple[Column, ...]
    notes: tuple[str, ...]


def encode_columns(name: str, frame: "pd.DataFrame", asked: Mapping[str, str], first_line: int | None) -> Encoded:
    """Numbers as they are, words as one column of 0 and 1 for each; a missing word is missing in all of them.

    Args:
        name: of the table, for messages.
        frame: its columns that are data.
        asked: by column, "number", "category", "count" or "ignore", where the guess is wrong.
        first_line: the line of row 0; None where lines are not rows.

    Raises:
        ColumnProblem: some are neither numbers nor words of few kinds.
        DataProblem: a column that is asked for is not there, or none is left.
    """
    import pandas as pd

    for column in asked:
        if column not in frame.columns:
            raise DataProblem(
                f"{name}: has no data column '{column}' ({DATA_COLUMNS}); it has {', '.join(frame.columns)}"
            )
    counted = [column for column, kind in asked.items() if kind == "count"]
    notes = [
        f"{name}: column '{column}' is a count, to model.likelihood = 'mixed' alone if others are none"
        for column in counted
    ]
    parts, columns, refused = [], list[Column](), dict[str, Refusal]()
    for column in frame.columns:
        values, kind = frame[column], asked.get(column)
        if kind == "ignore":
            continue
        if (kind == "category" and values.notna().any()) or (kind is None and _are_words(values)):
            words = _as_words(values)
            categories = sorted(words.dropna().unique())
            if kind is None and (len(categories) > _MOST_CATEGORIES or len(categories) == len(values)):
                refused[column] = refuse_texts(name, column, values, len(categories))
                continue
            if kind is None:
                became = "1 column" if len(categories) == 1 else f"{len(categories)} columns"
                notes.append(f"{name}: column '{column}' holds words and became {became} of 0 and 1")
            chosen = pd.Categorical(words, categories=categories)
            encoded = pd.get_dummies(chosen, prefix=column, prefix_sep="=", dtype=float).set_index(values.index)
            encoded[values.isna().to_numpy()] = float("nan")
            parts.append(encoded)
            columns.append(Column(name=column, kind="category", categories=tuple(categories)))
        elif is_numeric(values) or frame.empty:
            parts.append(values.to_frame())
            truth = pd.api.types.is_bool_dtype(values)
            columns.append(Column(name=column, kind=kind or ("truth value" if truth else "number")))
        elif numerals := _spelled_numbers(values):
            parts.append(numerals.frame)
            columns.append(Column(name=column, kind=kind or "number"))
            notes += [f"{name}: {note}" for note in (f"column '{column}' spells numbers as text", *numerals.notes)]
        else:
            refused[column] = refuse_others(name, column, values, first_line)
    if refused:
        raise ColumnProblem(refused)
    if not parts:
        ignored = [column for column, kind in asked.items() if kind == "ignore"]
        why = f"; {DATA_COLUMNS} ignores {', '.join(map(repr, ignored))}" if ignored else ""
        raise NothingLeft(f"{name}: no column is left to train on{why}")
    return Encoded(frame=pd.concat(parts, axis=1), columns=tuple(columns), notes=tuple(notes))


def _as_words(values: "pd.Series[Any]") -> "pd.Series[Any]":
    """Categories as text: whole numbers without a point where all are, for a gap makes them decimals."""
    import pandas as pd

    if isinstance(values.dtype, pd.CategoricalDtype) and pd.api.types.is_any_real_numeric_dtype(values.cat.categories):
        values = values.astype("float64")
    if pd.api.types.is_float_dtype(values):
        known = values.dropna().to_numpy(dtype=np.float64)
        whole = bool(np.all((known == np.rint(known)) & (np.abs(known) < _MOST_WHOLE)))
        values = values.astype("Int64") if whole else values
    return values.astype("string")


def _spelled_numbers(values: "pd.Series[Any]") -> Numerals | None:
    """The numbers that a column of text spells, as frames may have them; None where it holds anything else."""
    found = read_numerals(values.to_frame(), separator=",", read_again=lambda columns: values.to_frame()[columns])
    return found if is_numeric(found.frame.iloc[:, 0]) else None


def _are_words(values: "pd.Series[Any]") -> bool:
    """Tell whether a column holds text: no numbers, not even here and there, and not dates or percentages mostly."""
    import pandas as pd

    if is_numeric(values) or not (pd.api.types.is_object_dtype(values) or isinstance(values.dtype, pd.StringDtype)):
        return isinstance(values.dtype, pd.CategoricalDtype)
    held = values.dropna()
    texts = held.map(lambda value: isinstance(value, str)).all() and not held.empty
    if not texts or held.astype(str).str.fullmatch(_LIKE_NUMBER).any():
        return False
    return not are_measured(held) and not are_dates(held)
