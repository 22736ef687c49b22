"""Tables: files of text and .parquet files, and data frames that the user's own function gives."""

import difflib
import warnings
from collections import Counter
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from klsearch.vae.data.readers.columns import encode_columns
from klsearch.vae.data.readers.numerals import is_numeric, list_columns, read_numerals, refuse_doubtful
from klsearch.vae.data.readers.raw import (
    ColumnProblem,
    DataProblem,
    RawData,
    Request,
    refuse_beyond_memory,
    refuse_missing,
)
from klsearch.vae.data.readers.refusals import refuse_large_texts, refuse_nested
from klsearch.vae.data.readers.text import Layout, find_layout
from klsearch.vae.machine import free_memory

if TYPE_CHECKING:
    import pandas as pd  # Half a second to import, and most data are no tables.
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData

# A guess for the memory check alone: that many bytes of text to a value.
_BYTES_PER_VALUE = 8
_NUMBERS = np.dtype(np.float64)
# Of texts there are up to so many copies while it is found out what they are; of labels, as NumPy has them, each takes
# the room of the longest, and a character four bytes.
_COPIES, _CHARACTER = 5, 4
_BATCH_BYTES = 2**30
# Others unpack a text to more than its bytes in the file, without naming it by its number.
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}


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
    _refuse_repeated(name, frame.columns)
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

    with warnings.catch_warnings():
        warnings.simplefilter("error", pd.errors.ParserWarning)  # a row that loses values
        warnings.simplefilter("ignore", pd.errors.DtypeWarning)
        frame: pd.DataFrame = pd.read_csv(
            request.path,
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


def read_parquet(request: Request) -> RawData:
    """The columns of a .parquet file."""
    request.refuse("array", because="only an .npz holds several arrays")
    name = request.path.name
    try:
        from pyarrow import ArrowInvalid
    except ImportError as error:
        raise DataProblem(f"{name}: reading .parquet needs pyarrow; run `pip install 'klsearch[parquet]'`") from error
    try:
        frame = _read_columns(request).to_pandas()
    except ArrowInvalid as error:
        raise DataProblem(f"{name}: is not a .parquet file: {' '.join(str(error).split())}") from error
    return from_frame(name, frame if request.rows is None else frame.head(request.rows), request)


def _read_columns(request: Request) -> "pa.Table":
    """The columns of a .parquet file, of which those that are ignored hold nothing.

    A column that repeats itself unpacks to thousands of times its bytes, so what memory it needs is found out before.

    Raises:
        ColumnProblem: a column holds lists or the like, or more text than memory takes.
        DataProblem: there are more values than memory takes.
    """
    import pyarrow as pa
    from pyarrow import parquet

    name, schema, metadata = request.path.name, parquet.read_schema(request.path), parquet.read_metadata(request.path)
    _refuse_repeated(name, schema.names)
    ignored = {column for column, kind in request.columns.items() if kind == "ignore"}
    ignored -= {*request.beside_rows.values(), *request.condition}
    kept = [field for field in schema if field.name not in ignored]
    if nested := [field for field in kept if pa.types.is_nested(_stored(field.type))]:
        raise ColumnProblem({field.name: refuse_nested(name, field.name, str(field.type)) for field in nested})
    held = metadata.num_rows if request.rows is None else min(request.rows, metadata.num_rows)
    refuse_beyond_memory(name, held * sum(_width(_stored(field.type)) for field in kept), _NUMBERS)
    texts, batches = _Texts(request, [field.name for field in kept if _is_text(_stored(field.type))]), []
    packed, are_plain = texts.weigh_packed(metadata, held)
    # Where texts have numbers, a batch has all texts of its group of rows with it, so it should have all rows, too.
    most = held if are_plain else min(held, _BATCH_BYTES // max(packed, 1))
    with parquet.ParquetFile(request.path, read_dictionary=texts.columns if are_plain else None) as file:
        for batch in file.iter_batches(batch_size=max(most, 1), columns=[field.name for field in kept]):
            texts.weigh(batch)
            batches.append(batch)
            if texts.rows >= held:
                break
        read = pa.Table.from_batches(batches, None if batches else file.schema_arrow)
    columns = [pa.nulls(len(read)) if at.name in ignored else _with_texts(read[at.name], at.type) for at in schema]
    return pa.table(columns, schema.names).replace_schema_metadata(schema.metadata)


class _Texts:
    """What memory the texts of a .parquet file need, which is found out before each row has its own.

    Attributes:
        columns: that hold text, or bytes.
        rows: that were weighed.
    """

    def __init__(self, request: Request, columns: list[str]) -> None:
        self.columns = columns
        self.rows = 0
        self._request = request
        self._bytes = dict.fromkeys(columns, 0)
        self._longest = dict.fromkeys(columns, 0)

    def weigh_packed(self, metadata: "FileMetaData", rows: int) -> tuple[int, bool]:
        """The most bytes that a column has of a group of rows in the file, and whether none grows when it is read.

        Raises:
            ColumnProblem: they are more than memory takes.
        """
        places = {metadata.schema.column(place).path: place for place in range(metadata.num_columns)}
        packed, encodings = dict.fromkeys(self.columns, 0), set[str]()
        most = 0
        for number in range(metadata.num_row_groups if self.columns else 0):
            group = metadata.row_group(number)
            for column in self.columns:
                part = group.column(places[column])
                packed[column] += part.total_uncompressed_size
                most = max(most, part.total_uncompressed_size)
                encodings |= {*part.encodings}
            rows -= group.num_rows
            if rows <= 0:
                break
        self._refuse(packed)
        return most, encodings <= _PLAIN

    def weigh(self, batch: "pa.RecordBatch") -> None:
        """Add some rows.

        Raises:
            ColumnProblem: the texts so far are more than memory takes.
        """
        from pyarrow import compute, types

        self.rows += len(batch)
        needed = {}
        for column in self.columns:
            texts = batch[column]
            if types.is_dictionary(texts.type):
                lengths = compute.binary_length(texts.dictionary).take(texts.indices)
            else:
                lengths = compute.binary_length(texts.cast(_large(texts.type)))
            self._bytes[column] += compute.sum(lengths).as_py() or 0
            self._longest[column] = max(self._longest[column], compute.max(lengths).as_py() or 0)
            padded = self._longest[column] * self.rows * _CHARACTER
            beside = column in self._request.beside_rows.values()
            needed[column] = _COPIES * self._bytes[column] + (padded if beside else 0)
        self._refuse(needed)

    def _refuse(self, needed: Mapping[str, int]) -> None:
        free = free_memory()
        if sum(needed.values()) > free:
            column = max(needed, key=lambda column: needed[column])
            name = self._request.path.name
            raise ColumnProblem({column: refuse_large_texts(name, column, sum(needed.values()), free)})


def _stored(kind: "pa.DataType") -> "pa.DataType":
    """The type of what a column holds, where the file has a name of its own for it, or numbers its values."""
    import pyarrow as pa

    if isinstance(kind, pa.BaseExtensionType):
        return _stored(kind.storage_type)
    return _stored(kind.value_type) if pa.types.is_dictionary(kind) else kind


def _is_text(kind: "pa.DataType") -> bool:
    from pyarrow import types

    texts = (types.is_string, types.is_large_string, types.is_string_view)
    return any(is_one(kind) for is_one in (*texts, types.is_binary, types.is_large_binary, types.is_binary_view))


def _width(kind: "pa.DataType") -> int:
    """The numbers in whose memory a value of a type that is no text fits."""
    from pyarrow import types

    return max(1, kind.byte_width // _NUMBERS.itemsize) if types.is_fixed_size_binary(kind) else 1


def _with_texts(column: "pa.ChunkedArray", kind: "pa.DataType") -> "pa.ChunkedArray":
    """A column whose rows have their texts, where the file's own type of it has no numbers for them."""
    import pyarrow as pa

    if not pa.types.is_dictionary(column.type) or pa.types.is_dictionary(kind):
        return column
    large = _large(column.type.value_type)
    return column.cast(pa.dictionary(column.type.index_type, large)).cast(large)


def _large(kind: "pa.DataType") -> "pa.DataType":
    """The type of texts, or of bytes, that takes more than 2 GB of them."""
    import pyarrow as pa

    is_text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind)
    return pa.large_string() if is_text else pa.large_binary()


def from_frame(
    name: str,
    frame: "pd.DataFrame",
    request: Request,
    *,
    first_line: int | None = None,
    notes: tuple[str, ...] = (),
) -> RawData:
    """The columns of a data frame as rows of numbers, its labels, groups and splits apart.

    Raises:
        DataProblem: a named column is not there, two have one name, or a column left is refused by `encode_columns`.
    """
    frame = _without_blanks(_without_decimals(frame.set_axis(frame.columns.map(str), axis=1).reset_index(drop=True)))
    _refuse_repeated(name, frame.columns)
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
        notes=(*notes, *encoded.notes),
    )


def _refuse_repeated(name: str, columns: Iterable[str]) -> None:
    twice = [column for column, count in Counter(columns).items() if count > 1]
    if twice:
        raise DataProblem(f"{name}: has several columns '{twice[0]}'; give each a name of its own")


def _without_decimals(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A frame whose columns of Python's `Decimal`, as .parquet and data bases give them, are floats."""
    import pandas as pd

    found = [at for at, kind in enumerate(frame.dtypes) if pd.api.types.is_object_dtype(kind)]
    found = [at for at in found if pd.api.types.infer_dtype(frame.iloc[:, at], skipna=True) == "decimal"]
    for at in found:  # by place: two may have one name
        frame.isetitem(at, frame.iloc[:, at].to_numpy(dtype=np.float64, na_value=np.nan))
    return frame


def _without_blanks(frame: "pd.DataFrame") -> "pd.DataFrame":
    """A frame in which text that is empty, or nothing but blanks, is missing, as an empty cell of a file is."""
    for at in range(len(frame.columns)):  # by place: two may have one name
        values = frame.iloc[:, at]
        if values.dtype.kind != "O":  # which pandas' text and categories are too
            continue
        blank = np.array([isinstance(value, str) and not value.strip() for value in values], bool)
        if blank.any():
            frame.isetitem(at, values.mask(blank).array)
    return frame


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
