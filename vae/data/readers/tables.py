"""Tables: .csv and .parquet files, and data frames that the user's own function gives."""

import csv
import difflib
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.raw import DataProblem, RawData, Request, refuse_beyond_memory, refuse_missing

if TYPE_CHECKING:
    import pandas as pd  # Half a second to import, and most data are no tables.

# A guess for the memory check alone: that many bytes of text to a value.
_BYTES_PER_VALUE = 8


def read_csv(request: Request) -> RawData:
    """The columns of a comma-separated file, whose first line names them unless it holds numbers alone."""
    import pandas as pd

    request.refuse("array", because="only an .npz holds several arrays")
    name = request.path.name
    if request.rows is None:
        refuse_beyond_memory(name, request.path.stat().st_size // _BYTES_PER_VALUE, 8)
    try:
        headed = _has_header(request.path)
        frame = pd.read_csv(request.path, nrows=request.rows, header=0 if headed else None, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise DataProblem(f"{name}: is empty") from error
    except (pd.errors.ParserError, UnicodeDecodeError, csv.Error) as error:
        raise DataProblem(f"{name}: is not comma-separated UTF-8 text: {str(error).strip()}") from error
    note = () if headed else (f"{name}: the first line holds numbers and was read as data; columns are named 0, 1, …",)
    first_line = 1 + headed if _lines(request.path) == len(frame) + headed else None
    return from_frame(name, frame, request, first_line=first_line, notes=note)


def read_parquet(request: Request) -> RawData:
    """The columns of a .parquet file."""
    import pandas as pd

    request.refuse("array", because="only an .npz holds several arrays")
    name = request.path.name
    # Columns are compressed, so this is the least that they can need.
    refuse_beyond_memory(name, request.path.stat().st_size // _BYTES_PER_VALUE, 8)
    try:
        frame = pd.read_parquet(request.path)
    except ImportError as error:
        raise DataProblem(f"{name}: reading .parquet needs pyarrow; run `pip install 'klsearch[parquet]'`") from error
    except (ValueError, OSError) as error:
        raise DataProblem(f"{name}: is not a .parquet file: {error}") from error
    return from_frame(name, frame.head(request.rows) if request.rows else frame, request)


def from_frame(
    name: str,
    frame: "pd.DataFrame",
    request: Request,
    *,
    first_line: int | None = None,
    notes: tuple[str, ...] = (),
) -> RawData:
    """The numeric columns of a data frame as rows, its labels, groups and splits apart.

    Raises:
        DataProblem: a named column is not there, two have one name, or a column left holds something else than numbers.
    """
    frame = frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)
    if not frame.columns.is_unique:
        twice = frame.columns[frame.columns.duplicated()][0]
        raise DataProblem(f"{name}: has several columns '{twice}'; give each a name of its own")
    beside = {key: _read_beside(name, frame, key, column) for key, column in request.beside_rows.items()}
    data = frame.drop(columns=list(request.beside_rows.values()))
    _refuse_text(name, data, first_line)
    return RawData(
        name=name,
        rows=data.to_numpy(dtype=np.float64, na_value=np.nan),
        columns=tuple(data.columns),
        labels=beside.get("labels"),
        group=beside.get("group"),
        split=beside.get("split_column"),
        first_line=first_line,
        notes=notes,
    )


def _has_header(path: Path) -> bool:
    """Tell whether any entry of the first line is not a number."""
    with path.open(encoding="utf-8-sig", newline="") as text:
        first = next(csv.reader(text), [])
    return not first or not all(_is_number(entry) for entry in first)


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _lines(path: Path) -> int:
    with path.open("rb") as text:
        return sum(1 for _ in text)


def _read_beside(name: str, frame: "pd.DataFrame", key: str, column: str) -> np.ndarray:
    """One column of labels, groups or splits: numbers as they are, anything else as text."""
    if column not in frame.columns:
        near = difflib.get_close_matches(column, frame.columns, n=1)
        hint = f"did you mean '{near[0]}'?" if near else f"it has {', '.join(frame.columns)}"
        raise DataProblem(f"{name}: has no column '{column}' (data.{key}); {hint}")
    values = frame[column]
    refuse_missing(name, column, values.isna().to_numpy())
    return values.to_numpy() if _is_numeric(values) else values.astype(str).to_numpy(dtype=np.str_)


def _is_numeric(values: "pd.Series[Any]") -> bool:
    import pandas as pd

    return pd.api.types.is_numeric_dtype(values) and not pd.api.types.is_complex_dtype(values)


def _refuse_text(name: str, data: "pd.DataFrame", first_line: int | None) -> None:
    """Refuse columns that are not numbers, with the first value that is none."""
    import pandas as pd

    texts = [column for column in data.columns if not _is_numeric(data[column])]
    if not texts or data.empty:
        return
    values = data[texts[0]]
    odd = (pd.to_numeric(values, errors="coerce").isna() & values.notna()).to_numpy()
    row = int(np.argmax(odd)) if odd.any() else 0
    line = f", line {row + first_line}" if first_line is not None else ""
    others = f" (and in {len(texts) - 1} more: {', '.join(map(repr, texts[1:]))})" if len(texts) > 1 else ""
    separator = next((mark for mark in ";\t" if mark in texts[0] and len(data.columns) == 1), None)
    remedy = (
        f"its columns look separated by {separator!r}; separate them by commas"
        if separator
        else "turn it into numbers, remove it, or name it as data.labels, data.group or data.split_column"
    )
    raise DataProblem(
        f"{name}: column '{texts[0]}'{others} holds {str(values.iloc[row])!r} at row {row} (counted from 0{line}), "
        f"which is no number; {remedy}"
    )
