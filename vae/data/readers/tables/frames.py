"""Data frames, whether a file or the user's own function gave them."""

import difflib
from collections import Counter
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.raw import (
    DataProblem,
    RawData,
    Request,
    refuse_missing,
)
from klsearch.vae.data.readers.tables.columns import encode_columns
from klsearch.vae.data.readers.tables.numerals import is_numeric
from klsearch.vae.data.readers.tables.types import in_usual_types

if TYPE_CHECKING:
    import pandas as pd  # Half a second to import, and most data are no tables.


def from_frame(
    name: str,
    frame: "pd.DataFrame",
    request: Request,
    *,
    first_line: int | None = None,
    notes: tuple[str, ...] = (),
) -> RawData:
    """The columns of a data frame as rows of numbers, its labels, groups and splits apart; these may be its index.

    Raises:
        DataProblem: a named column is not there, two have one name, or a column left is refused by `encode_columns`.
    """
    frame, unused = _take_index(frame.set_axis(frame.columns.map(str), axis=1), request)
    frame = in_usual_types(frame)
    refuse_repeated(name, frame.columns)
    found = [f"{name}: the index '{level}' is not trained on; reset_index() makes data of it" for level in unused]
    beside = {key: _read_beside(name, frame, key, column) for key, column in request.beside_rows.items()}
    conditions = {column: _read_condition(name, frame, column) for column in request.condition}
    data = frame.drop(columns=list({*request.beside_rows.values(), *conditions}))
    asked = {column: kind for column, kind in request.columns.items() if column not in conditions}
    encoded = encode_columns(name, data, asked, first_line)
    return RawData(
        name=name,
        rows=encoded.frame.to_numpy(dtype=np.float64, na_value=np.nan),
        columns=tuple(encoded.frame.columns),
        table=encoded.columns,
        labels=beside.get("labels"),
        group=beside.get("group"),
        split=beside.get("split_column"),
        conditions=conditions,
        first_line=first_line,
        notes=(*notes, *found, *encoded.notes),
    )


def _take_index(frame: "pd.DataFrame", request: Request) -> tuple["pd.DataFrame", list[str]]:
    """A frame with a column for each level of its index that is asked for, and the names of the other levels."""
    asked = {*request.beside_rows.values(), *request.condition}
    levels = {str(level): at for at, level in enumerate(frame.index.names) if level is not None}
    levels = {level: at for level, at in levels.items() if level not in frame.columns}
    taken = {level: frame.index.get_level_values(at) for level, at in levels.items() if level in asked}
    return frame.reset_index(drop=True).assign(**taken), [level for level in levels if level not in taken]


def refuse_repeated(name: str, columns: Iterable[str]) -> None:
    """Refuse columns of which two have one name.

    Raises:
        DataProblem: with that name.
    """
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataProblem(f"{name}: has several columns '{twice[0]}'; give each a name of its own")


def _read_beside(name: str, frame: "pd.DataFrame", key: str, column: str) -> np.ndarray:
    """One column of labels, groups or splits: numbers as they are, anything else as text."""
    values = _find_column(name, frame, key, column)
    refuse_missing(name, column, values.to_numpy())
    return values.to_numpy() if is_numeric(values) else values.astype(str).to_numpy(dtype=np.str_)


def _read_condition(name: str, frame: "pd.DataFrame", column: str) -> np.ndarray:
    """One column that is a condition: numbers as they are, anything else as text, None where it is missing."""
    values = _find_column(name, frame, "condition", column)
    if is_numeric(values):
        return values.to_numpy() if not values.isna().any() else values.to_numpy(np.float64, na_value=np.nan)
    words = values.astype(str).to_numpy(dtype=object)
    words[values.isna().to_numpy()] = None
    return words if values.isna().any() else words.astype(np.str_)


def _find_column(name: str, frame: "pd.DataFrame", key: str, column: str) -> "pd.Series[Any]":
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(frame.columns)}"
        raise DataProblem(f"{name}: has no column '{column}' (data.{key}); {hint}")
    return frame[column]
