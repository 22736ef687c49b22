"""How tables of text are packed, encoded and separated."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from klsearch.vae.data.readers.text import find_layout, is_text_table

if TYPE_CHECKING:
    from tests.vae.conftest import DataFolder

TABLE = "größe,b\n1,2\n3,4\n"


def zipped(content: bytes, *, members: int = 1) -> bytes:
    whole = io.BytesIO()
    with zipfile.ZipFile(whole, "w") as archive:
        for member in range(members):
            archive.writestr(f"{member}.csv", content)
    return whole.getvalue()


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "cp1252", "utf-16"])
def test_an_encoding_is_recognised_and_said_where_it_is_not_utf_8(folder: "DataFolder", encoding: str) -> None:
    (folder.path / "rows.csv").write_bytes(TABLE.encode(encoding))
    raw = folder.read("rows.csv")
    assert raw.columns == ("größe", "b")
    assert raw.rows.tolist() == [[1, 2], [3, 4]]
    assert raw.notes == (() if encoding.startswith("utf-8") else (f"rows.csv: encoded in {encoding}",))


@pytest.mark.parametrize(
    ("suffix", "pack"), [("gz", gzip.compress), ("bz2", bz2.compress), ("xz", lzma.compress), ("zip", zipped)]
)
@pytest.mark.parametrize("kind", ["csv", "tsv"])
def test_packed_tables_are_read(folder: "DataFolder", kind: str, suffix: str, pack: Callable[[bytes], bytes]) -> None:
    name = f"rows.{kind}.{suffix}"
    (folder.path / name).write_bytes(pack(TABLE.replace(",", "\t" if kind == "tsv" else ",").encode()))
    assert folder.read(name).rows.tolist() == [[1, 2], [3, 4]]


def test_a_flipped_bit_of_a_packed_table_is_seen_though_few_rows_are_wanted(folder: "DataFolder") -> None:
    packed = bytearray(gzip.compress(TABLE.encode()))
    packed[-8] ^= 1
    (folder.path / "rows.csv.gz").write_bytes(packed)
    assert "rows.csv.gz: cannot be read: CRC check failed" in folder.refusal("rows.csv.gz", rows=1)


def test_an_archive_of_several_tables_is_refused(folder: "DataFolder") -> None:
    (folder.path / "rows.csv.zip").write_bytes(zipped(TABLE.encode(), members=2))
    assert "holds 2 files; unpack it and name the table itself" in folder.refusal("rows.csv.zip")


@pytest.mark.parametrize(
    ("name", "expected"),
    [("a.csv", True), ("a.CSV.gz", True), ("a.tsv.xz", True), ("a.gz", False), ("a.npz", False), ("csv", False)],
)
def test_tables_of_text_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_text_table(Path(name)) is expected


def test_a_layout_tells_size_and_lines(tmp_path: Path) -> None:
    (tmp_path / "rows.csv").write_text("a,b\n1,2\n3,4")
    layout = find_layout(tmp_path / "rows.csv")
    assert (layout.size, layout.lines, layout.separator, layout.words) == (11, 3, ",", "")


@pytest.mark.parametrize(
    ("first", "headed"),
    [("0,1,2,3", True), ("0,1,2,4", False), ("1,2,3,4", False), ("0,1,2", False), ("0,1,2,3.0", False)],
)
def test_the_numbers_that_pandas_gives_columns_are_names(tmp_path: Path, first: str, headed: bool) -> None:
    (tmp_path / "rows.csv").write_text(f"{first}\n" + "".join(f"{','.join('5' * (first.count(',') + 1))}\n" * 3))
    assert find_layout(tmp_path / "rows.csv").headed is headed
