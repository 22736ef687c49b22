"""How tables of text are packed, encoded and separated."""

import bz2
import gzip
import io
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from klsearch.vae.data.readers.tables.layout import find_layout, is_text_table

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


def test_folders_and_what_macos_adds_are_no_tables_of_an_archive(folder: "DataFolder") -> None:
    with zipfile.ZipFile(folder.path / "rows.csv.zip", "w") as archive:
        archive.writestr("dir/", "")
        archive.writestr("dir/rows.csv", TABLE)
        archive.writestr("__MACOSX/dir/._rows.csv", b"\0\1")
    assert folder.read("rows.csv.zip").rows.tolist() == [[1, 2], [3, 4]]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x0b", "\x0c", "\x1c", "\x85"])
def test_what_stands_within_a_word_ends_no_line(folder: "DataFolder", mark: str) -> None:
    words = [f"x{mark}{'uv'[row % 2]}" for row in range(9)]
    (folder.path / "rows.csv").write_text("a;b\n" + "".join(f"{row},5;{word}\n" for row, word in enumerate(words)))
    raw = folder.read("rows.csv")
    assert raw.columns == ("a", f"b=x{mark}u", f"b=x{mark}v")
    assert raw.rows[:, 0].tolist() == [row + 0.5 for row in range(9)]


@pytest.mark.parametrize("end", ["\n", "\r", "\r\n"])
def test_lines_end_as_any_system_ends_them(folder: "DataFolder", end: str) -> None:
    (folder.path / "rows.csv").write_bytes(end.join(["a;b", "1,5;2", "3;4"]).encode())
    assert folder.read("rows.csv").rows.tolist() == [[1.5, 2], [3, 4]]


def test_an_encoding_is_recognised_by_all_of_a_file(folder: "DataFolder") -> None:
    rows = "".join(f"{row % 97},{'ab'[row % 2]}\n" for row in range(300_000))
    for late, encoding in ((b"\x81", "latin-1"), (b"\xf6", "cp1252")):
        (folder.path / "rows.csv").write_bytes(f"a,b\n{rows}".encode() + b"1,K" + late + b"ln\n")
        raw = folder.read("rows.csv")
        assert raw.columns == ("a", "b=K" + late.decode(encoding) + "ln", "b=a", "b=b")
        assert f"rows.csv: encoded in {encoding}" in raw.notes


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


@pytest.mark.parametrize("line", ["sep=;", '"sep=;"'])
@pytest.mark.parametrize("end", ["\n", "\r\n"])
def test_the_first_line_by_which_excel_is_told_the_separator_is_honoured(
    folder: "DataFolder", line: str, end: str
) -> None:
    (folder.path / "rows.csv").write_bytes(end.join(["\ufeff" + line, "a;b", "1,5;2", "x;4", ""]).encode())
    assert "column 'a' holds 'x' at row 1 (counted from 0, line 4)" in folder.refusal("rows.csv")
    raw = folder.read("rows.csv", labels="a")
    assert (raw.columns, raw.rows.tolist(), raw.first_line) == (("b",), [[2], [4]], 3)


def test_a_separator_that_excel_is_told_holds_where_another_would_be_found(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("sep=|\na;b|c;d\n1|2\n3|4\n")
    assert folder.read("rows.csv").columns == ("a;b", "c;d")


@pytest.mark.parametrize(
    ("text", "columns", "rows", "comments"),
    [
        ("# made by a lab\n# 2024\na,b\n1,2\n3,4\n", "a b", 2, 2),
        ("# made, in a lab\na,b\n1,2\n3,4\n", "a b", 2, 1),  # split like the table by chance
        ("# made by a lab\n1,2\n3,4\n", "0 1", 2, 1),
        ("# about a\na\n1\n2\n", "a", 2, 1),
        ("# semicolons\na;b\n1,5;2\n3;4\n", "a b", 2, 1),
        ("#a,b\n1,2\n3,4\n", "#a b", 2, 0),
        ("# made by a lab\n#a,b\n1,2\n3,4\n", "#a b", 2, 1),
        ("#,b\n1,2\n3,4\n", "# b", 2, 0),
        ("#a\n1\n2\n", "#a", 2, 0),
        ("a,b\n1,2\n3,4\n", "a b", 2, 0),
    ],
)
def test_lines_of_comment_above_a_table_are_left_out_and_counted_but_not_its_names(
    folder: "DataFolder", text: str, columns: str, rows: int, comments: int
) -> None:
    (folder.path / "rows.csv").write_text(text)
    raw = folder.read("rows.csv")
    assert (raw.columns, len(raw.rows)) == (tuple(columns.split()), rows)
    told = [note for note in raw.notes if "of comment, left out" in note]
    assert [f"below {comments} line{'s' * (comments > 1)}" in note for note in told] == [True] * (comments > 0)
    assert raw.first_line == 1 + text.count("\n") - rows


def test_rows_that_begin_with_a_number_sign_are_no_comments(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("#f00,1\n#0f0,2\n#00f,3\nred,4\n")
    assert len(folder.read("rows.csv", labels="#f00").rows) == 3


@pytest.mark.parametrize(
    "text", ["a, b , sex\n1, 2 , m\n3, 4 , f\n5, NA , m\n", "a; b; sex\n1; 2; m\n3; 4; f\n5; ; m\n"]
)
def test_blanks_about_names_and_before_values_are_no_part_of_them(folder: "DataFolder", text: str) -> None:
    (folder.path / "rows.csv").write_text(text)
    raw = folder.read("rows.csv")
    assert raw.columns == ("a", "b", "sex=f", "sex=m")
    assert np.array_equal(raw.rows, np.array([[1, 2, 0, 1], [3, 4, 1, 0], [5, np.nan, 0, 1]]), equal_nan=True)


def test_names_that_only_a_blank_tells_apart_are_refused(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,a ,b\n1,x,3\n4,y,6\n")
    assert "has several columns 'a'; give each a name of its own" in folder.refusal("rows.csv")


def test_a_name_that_stands_twice_is_told_with_what_the_second_is_called(folder: "DataFolder") -> None:
    (folder.path / "rows.csv").write_text("a,b,a\n1,2,3\n4,5,6\n")
    raw = folder.read("rows.csv")
    assert raw.columns == ("a", "b", "a.1")
    assert raw.notes == ("rows.csv: column 'a' stands more than once among its names; the second is called 'a.1'",)
