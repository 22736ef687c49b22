"""Tables in .parquet files, weighed before they are unpacked."""

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from klsearch.vae.data.readers.raw import (
    ColumnProblem,
    DataProblem,
    RawData,
    Request,
    refuse_beyond_memory,
)
from klsearch.vae.data.readers.tables.frames import from_frame, refuse_repeated
from klsearch.vae.data.readers.tables.refusals import refuse_large_texts, refuse_nested
from klsearch.vae.host.machine import free_memory

if TYPE_CHECKING:
    import pandas as pd  # half a second to import
    import pyarrow as pa
    from pyarrow.parquet import FileMetaData

_NUMBERS = np.dtype(np.float64)
# Of texts there are up to so many copies while it is found out what they are; of labels, as NumPy has them, each takes
# the room of the longest, and a character four bytes.
_COPIES, _CHARACTER = 5, 4
_BATCH_BYTES = 2**30
# Others unpack a text to more than its bytes in the file, without naming it by its number.
_PLAIN = {"PLAIN", "RLE", "BIT_PACKED", "PLAIN_DICTIONARY", "RLE_DICTIONARY"}


def read_parquet(request: Request) -> RawData:
    """The columns of a .parquet file."""
    request.refuse("array", because="only an .npz holds several arrays")
    name = request.path.name
    try:
        from pyarrow import ArrowInvalid
    except ImportError as error:
        raise DataProblem(f"{name}: reading .parquet needs pyarrow; run `pip install 'klsearch[parquet]'`") from error
    try:
        frame = _read_columns(request)
    except ArrowInvalid as error:
        raise DataProblem(f"{name}: is not a .parquet file: {' '.join(str(error).split())}") from error
    return from_frame(name, frame if request.rows is None else frame.head(request.rows), request)


def _read_columns(request: Request) -> "pd.DataFrame":
    """The columns of a .parquet file as a data frame, of which those that are ignored hold nothing.

    A column that repeats itself unpacks to thousands of times its bytes, so what memory it needs is found out before.

    Raises:
        ColumnProblem: a column holds lists or the like, or more text than memory takes.
        DataProblem: there are more values than memory takes.
    """
    import pyarrow as pa
    from pyarrow import parquet

    name, schema, metadata = request.path.name, parquet.read_schema(request.path), parquet.read_metadata(request.path)
    refuse_repeated(name, schema.names)
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
    columns = {field.name: _with_texts(read[field.name], field.type) for field in kept}
    frame: pd.DataFrame = pa.table(columns).replace_schema_metadata(schema.metadata).to_pandas()
    for place, field in enumerate(schema):  # later, for what pandas is told of them holds for what they are in the file
        if field.name in ignored:
            frame.insert(min(place, len(frame.columns)), field.name, None)
    return frame


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
