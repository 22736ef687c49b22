"""Tables as text: how a file is packed, encoded and separated, found out before its values are read."""

import bz2
import codecs
import csv
import gzip
import io
import lzma
import re
import zipfile
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import IO, Any

from klsearch.vae.data.readers.raw import DataProblem

SUFFIXES = (".csv", ".tsv")
PACKINGS: dict[str, Callable[[Path], Any]] = {
    ".gz": gzip.open,
    ".bz2": bz2.open,
    ".xz": lzma.open,
    ".zip": zipfile.ZipFile,
}

_SEPARATORS = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_MARKS = {codecs.BOM_UTF8: "utf-8-sig", codecs.BOM_UTF16_LE: "utf-16", codecs.BOM_UTF16_BE: "utf-16"}
_EXCELS_OWN = re.compile('"?sep=([,;\t|])"?')  # a first line that is none of the table
_COMMENT = "#"
_NOT_IN_CP1252 = (b"\x81", b"\x8d", b"\x8f", b"\x90", b"\x9d")
_OF_MACOS = "__MACOSX/"  # what it keeps beside each file of an archive
_CHUNK = 1 << 20
_SAMPLE_LINES = 50


@dataclass(frozen=True, slots=True, kw_only=True)
class Layout:
    """How a table stands in its file.

    Attributes:
        size: bytes of text, unpacked.
        lines: of it.
        encoding: as Python names it.
        separator: between the values of a line.
        headed: whether the first line names the columns, as it does unless it holds numbers alone, other than the
            0, 1, 2, 3 that pandas gives for names.
        skipped: lines above it: of comment, or the one that tells Excel the separator.
        comments: how many of these are of comment.
        repeated: names that stand more than once in the first line.
        longer: whether the first row has more values than the header has names.
        trailing: whether that is so because rows, but not the header, end in a separator.
    """

    size: int
    lines: int
    encoding: str
    separator: str
    headed: bool
    skipped: int
    comments: int
    repeated: tuple[str, ...]
    longer: bool
    trailing: bool

    @property
    def words(self) -> str:
        """What differs from plain comma-separated UTF-8, such as "separated by semicolons"; empty for nothing."""
        parts = [] if self.separator == "," else [f"separated by {_SEPARATORS[self.separator]}s"]
        parts += [] if self.encoding.startswith("utf-8") else [f"encoded in {self.encoding}"]
        parts += (
            [f"below {self.comments} line{'s' * (self.comments > 1)} of comment, left out"] if self.comments else []
        )
        parts += ["with a separator at the end of each row, left out"] if self.trailing else []
        return ", ".join(parts)


def is_text_table(path: Path) -> bool:
    """Tell whether a file is named like a table of text, packed or not."""
    suffixes = [suffix.lower() for suffix in path.suffixes[-2:]]
    return bool(suffixes) and (
        suffixes[-1] in SUFFIXES or (len(suffixes) == 2 and suffixes[0] in SUFFIXES and suffixes[1] in PACKINGS)
    )


def find_layout(path: Path) -> Layout:
    """The layout of a table, from one pass to the file's end, where a packed one holds its checksum.

    Raises:
        DataProblem: it is empty, no text, or a .zip of several files.
    """
    with ExitStack() as stack:
        file = open_table(path, stack)
        start = file.read(_CHUNK)
        if not start:
            raise DataProblem(f"{path.name}: is empty")
        encoding = next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")
        if b"\0" in start and encoding != "utf-16":
            raise DataProblem(f"{path.name}: is no text, which a table of this name must be; it holds zero bytes")
        size, lines, valid, in_cp1252 = 0, 0, True, True
        decoder = codecs.getincrementaldecoder(encoding)()
        chunk = start
        while chunk:
            size, lines, last = size + len(chunk), lines + chunk.count(b"\n"), chunk[-1:]
            valid = valid and _decodes(decoder, chunk)
            in_cp1252 = in_cp1252 and not any(byte in chunk for byte in _NOT_IN_CP1252)
            chunk = file.read(_CHUNK)
        valid = valid and _decodes(decoder, b"", final=True)
    if not valid:
        if encoding == "utf-16":
            raise DataProblem(f"{path.name}: begins as UTF-16, but is damaged; save it as UTF-8")
        encoding = "cp1252" if in_cp1252 else "latin-1"
    text = start.decode(encoding, errors="ignore")
    # No other ends of lines than files have: others may stand within words.
    sample = [*islice(io.StringIO(text, newline=""), _SAMPLE_LINES + 1)]
    if len(sample) > 1 and (size > len(start) or len(sample) > _SAMPLE_LINES):
        sample = sample[:-1]  # may be cut within
    usual = "\t" if ".tsv" in path.name.lower() else ","
    told = _EXCELS_OWN.fullmatch(sample[0].strip("\r\n")) if sample else None
    comments = 0 if told else _count_comments(sample, usual)
    skipped = 1 if told else comments
    separator = told.group(1) if told else _find_separator(sample[skipped:], usual)
    header, *rows = _split(sample[skipped:], separator) or [[]]
    headed = not header or not all(map(is_number, header)) or _are_counted(header)
    return Layout(
        size=size,
        lines=lines + (last != b"\n" and encoding != "utf-16"),
        encoding=encoding,
        separator=separator,
        headed=headed,
        skipped=skipped,
        comments=comments,
        repeated=tuple(name for name, count in Counter(header).items() if name and count > 1) if headed else (),
        longer=bool(rows) and len(rows[0]) > len(header),
        trailing=bool(rows) and all(len(row) == len(header) + 1 and not row[-1] for row in rows),
    )


def is_number(text: str) -> bool:
    """Tell whether a text is a number, with a point or a comma for its decimals."""
    try:
        float(text.replace(",", ".", 1))
    except ValueError:
        return False
    return True


def _are_counted(header: list[str]) -> bool:
    """Tell whether columns are named by their places; of fewer than four a first row of data may well look so."""
    return len(header) > 3 and header == [str(place) for place in range(len(header))]


def open_table(path: Path, stack: ExitStack) -> IO[bytes]:
    """The bytes of a table, unpacked as they are read, until the stack ends.

    Raises:
        DataProblem: it is a .zip of several files, or of none.
    """
    opened = PACKINGS.get(path.suffix.lower(), io.FileIO)(path)
    file = stack.enter_context(opened)
    if isinstance(file, zipfile.ZipFile):
        members = [name for name in file.namelist() if not name.endswith("/") and not name.startswith(_OF_MACOS)]
        if len(members) != 1:
            raise DataProblem(f"{path.name}: holds {len(members)} files; unpack it and name the table itself")
        return stack.enter_context(file.open(members[0]))
    return file  # type: ignore[no-any-return]


def _decodes(decoder: codecs.IncrementalDecoder, content: bytes, *, final: bool = False) -> bool:
    try:
        decoder.decode(content, final)
    except UnicodeDecodeError:
        return False
    return True


def _count_comments(sample: list[str], usual: str) -> int:
    """The lines of comment above a table, which begin with a #; not so the line of names, which may begin with one."""
    marked = next((at for at, line in enumerate(sample) if not line.startswith(_COMMENT)), 0)
    separator = _find_separator(sample[marked:], usual)
    table = _split(sample[marked:], separator)
    if not marked or not table or _are_names_above_numbers(table):
        return marked if table else 0
    alike = [at for at in range(marked) if [*map(len, _split(sample[at : at + 1], separator))] == [len(table[0])]]
    if not alike or alike[-1] != marked - 1:
        return 0 if alike else marked
    return marked - 1 if len(alike) == 1 or len(table[0]) == 1 else 0


def _are_names_above_numbers(table: list[list[str]]) -> bool:
    return len(table) > 1 and not any(map(is_number, table[0])) and any(map(is_number, table[1]))


def _find_separator(sample: list[str], usual: str) -> str:
    """The usual separator unless another splits all lines alike, and it does not or leaves the other within values."""
    for mark in _SEPARATORS:
        widths = {len(row) for row in _split(sample, mark)}
        if mark == usual or len(widths) != 1 or widths == {1}:
            continue
        rows = _split(sample, usual)
        if len({len(row) for row in rows}) != 1 or any(mark in value.strip() for row in rows for value in row):
            return mark
    return usual


def _split(sample: list[str], separator: str) -> list[list[str]]:
    rows = csv.reader(sample, delimiter=separator, skipinitialspace=True)
    return [[value.strip() for value in row] for row in rows if row]
