"""Tables of text, packed or not."""

import warnings
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.raw import (
    ColumnProblem,
    DataProblem,
    RawData,
    Request,
    refuse_beyond_memory,
)
from klsearch.vae.data.readers.tables.frames import from_frame, refuse_repeated
from klsearch.vae.data.readers.tables.layout import Layout, find_layout, open_table
from klsearch.vae.data.readers.tables.numerals import list_columns, read_numerals, refuse_doubtful

if TYPE_CHECKING:
    import pandas as pd  # Half a second to import, and most data are no tables.

# A guess for the memory check alone: that many bytes of text to a value.
_BYTES_PER_VALUE = 8
_NUMBERS = np.dtype(np.float64)


def read_text(request: Request) -> RawData:
    """The columns of a table of text, packed or not, whose first line names them unless it holds numbers alone."""
    import pandas as pd

    request.refuse("array", because="only an .npz holds several arrays")
    name, layout = request.path.name, find_layout(request.path)
    if layout.longer and not layout.trailing:
        raise DataProblem(
            f"{name}: its rows have more values than its first line has names; name every column in that line"
        )
    if request.rows is None:
        refuse_beyond_memory(name, layout.size // _BYTES_PER_VALUE, _NUMBERS)
    try:
        frame = _read_frame(request, layout)
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        reason = " ".join(str(error).rpartition("C error: ")[2].split())
        raise DataProblem(
            f"{name}: its rows differ in length: {reason}; give each as many values as there are names, and put text "
            "that holds the separator into double quotes"
        ) from error
    found = [layout.words] if layout.words else []
    if layout.repeated:
        verb = "stands" if len(layout.repeated) == 1 else "stand"
        twice, second = f"{list_columns(layout.repeated)} {verb} more than once", f"'{layout.repeated[0]}.1'"
        found.append(f"{twice} among its names; the second is called {second}")
    if not layout.headed:
        found.append("the first line holds numbers and was read as data; columns are named 0, 1, …")
    refuse_repeated(name, frame.columns)
    names = list(frame.columns)
    frame, more = _without_unnamed(frame)

    def read_again(columns: list[str]) -> "pd.DataFrame":
        places = sorted(map(names.index, columns))
        again = _read_frame(request, layout, dtype="string", usecols=places)
        return again.set_axis([names[place] for place in places], axis=1)

    numerals = read_numerals(frame, separator=layout.separator, read_again=read_again)
    above = layout.skipped + layout.headed
    first_line = 1 + above if layout.lines == len(frame) + above else None
    notes = tuple(f"{name}: {note}" for note in (*found, *more, *numerals.notes))
    if doubtful := [column for column in numerals.doubtful if _is_in_doubt(request, column)]:
        texts = read_again(doubtful)
        refusals = {}
        for column in doubtful:
            row, is_label = numerals.doubtful[column], column == request.labels
            value = texts[column].iloc[row]
            refusals[column] = refuse_doubtful(name, column, value, row, first_line, is_label=is_label)
        raise ColumnProblem(refusals)
    return from_frame(name, numerals.frame, request, first_line=first_line, notes=notes)


def _read_frame(request: Request, layout: Layout, **options: Any) -> "pd.DataFrame":
    """The table as pandas reads it, its columns named by text."""
    import pandas as pd

    with warnings.catch_warnings(), ExitStack() as stack:
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row that loses values
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        frame: pd.DataFrame = pd.read_csv(
            open_table(request.path, stack),
            nrows=request.rows,
            header=0 if layout.headed else None,
            encoding=layout.encoding,
            sep=layout.separator,
            skipinitialspace=True,
            skiprows=layout.skipped,
            index_col=False if layout.trailing else None,
            **options,
        )
    return frame.set_axis(frame.columns.map(str).str.strip(), axis=1)


def _is_in_doubt(request: Request, column: str) -> bool:
    """Tell whether it matters what the values of a column are, and nothing says that they are as they were read."""
    return column not in request.columns and column not in (request.group, request.split_column)


def _without_unnamed(frame: "pd.DataFrame") -> tuple["pd.DataFrame", list[str]]:
    """A table without the columns that no one named: a count of its rows at the front, an empty one at the end."""
    notes = []
    first, last = frame.columns[0], frame.columns[-1]
    if first == "Unnamed: 0" and len(frame.columns) > 1 and frame[first].equals(frame.index.to_series(name=first)):
        frame = frame.drop(columns=first)
        notes.append("the first column has no name and counts the rows; it was left out")
    if last == f"Unnamed: {len(frame.columns) - 1 + len(notes)}" and len(frame) and frame[last].isna().all():
        frame = frame.drop(columns=last)
        notes.append("the last column has neither name nor values; it was left out")
    return frame, notes
