"""The journal file: Optuna's embedded storage, as several processes append to it."""

import fcntl
import json
import os
import re
import secrets
import time
import zlib
from collections.abc import Generator, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from shlex import quote
from typing import Any, BinaryIO, Literal

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend

from klsearch.studies.files import open_ordinary

_FLUSH_SECONDS = 1.0
_BLOCK_BYTES = 65536
_CHECKSUM = re.compile(rb',"crc":"([\da-f]{8})"\}\n')
_CHECKSUM_BYTES = 19
_TAIL_BYTES = 64  # which hold a line's checksum; of a line without, a time and more
_CUT_OFF = "it was cut off meanwhile; restore the file from a copy"
_REPLACED = "it was replaced by another file meanwhile; start again to go on with that"


class JournalFile(JournalFileBackend):
    """Optuna's journal file with another way to append.

    The lock is the system's own, on the file itself. The system releases it when its process ends, however it ends;
    Optuna's lock files stay behind a killed process, and the next one to write waits for half a minute before it takes
    them away.

    What is appended is at once with the operating system, so it outlives a killed process, and is flushed to the disk
    about once a second: a machine that loses its power loses so much. To flush each of the eight records of a trial
    took 3 to 4 ms each, a fifth of the time that a small model trains.

    A line ends with its checksum, so that no damaged one is taken for a record. Optuna itself reads it as any other.

    Args:
        path: the file; made if it is not there.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self._file = _identity(os.stat(path))
        self._end = 0  # of what this process has read or appended, all of it whole
        self._tail = b""  # the last bytes before that
        self._flushed = 0.0
        self._is_flushed = True

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read the records from a number on, up to a damaged last one, which the next to write cuts off.

        Raises:
            StorageInternalError: a line before the last is damaged, or the file is another one now.
        """
        offsets = self._log_number_offset
        number = log_number_from if log_number_from in offsets else 0
        with self._open("rb") as file:
            end = os.fstat(file.fileno()).st_size  # others may append meanwhile
            self._check(file, end)
            offset = file.seek(offsets[number])
            while offset < end:
                line = file.readline()
                record = _read(line)
                if record is None:
                    if offset + len(line) < end:
                        raise StorageInternalError(self._damaged_words(number + 1))
                    return
                offset += len(line)
                offsets[number + 1] = offset
                self._note(offset, line)
                if number >= log_number_from:
                    yield record
                number += 1

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records at the end of the file."""
        with self._open_alone() as file:
            lines = b"".join(map(_line, logs))
            file.write(lines)
            file.flush()
            self._note(file.tell(), lines)
            self._is_flushed = False
            if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
                self._flush(file)

    def close(self) -> None:
        """Flush what was appended last."""
        if not self._is_flushed:
            with suppress(StorageInternalError), self._open("rb") as file:
                self._flush(file)

    def _damaged_words(self, line: int) -> str:
        """What to do about a damaged line: what follows it in the file may rest on it."""
        if line == 1:
            return "line 1 is damaged; restore the file from a copy"
        path, kept = quote(self._path), quote(f"{self._path}.damaged-at-{line}-{secrets.token_hex(2)}")
        # Given twice, it would keep what it has left instead of the whole.
        commands = f"[ ! -e {kept} ] && mv {path} {kept} && head -n {line - 1} {kept} > {path}"
        return (
            f"line {line} is damaged; restore the file from a copy, or keep the lines before it, after which what was "
            f"trained since is trained again: {commands}"
        )

    def _note(self, end: int, lines: bytes) -> None:
        """Remember where the journal that this process knows ends, and with what."""
        if end > self._end:
            self._end, self._tail = end, lines[-_TAIL_BYTES:]

    def _check(self, file: BinaryIO, end: int) -> None:
        """See that the file still holds what this process knows of it: a copy may have been written over it.

        The system gives the number of a file that was removed to the next one, so that alone tells too little.

        Raises:
            StorageInternalError: it does not.
        """
        if end < self._end:
            raise StorageInternalError(_CUT_OFF)
        if os.pread(file.fileno(), len(self._tail), self._end - len(self._tail)) != self._tail:
            raise StorageInternalError(_REPLACED)

    def _flush(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())
        self._flushed, self._is_flushed = time.monotonic(), True

    @contextmanager
    def _open(self, mode: Literal["rb", "rb+"]) -> Iterator[BinaryIO]:
        """The file for a block, if it is still the one that this process began with.

        Raises:
            StorageInternalError: it was removed, or another one has its name; nothing is written to that. Or it cannot
                be read or written, for the reason that is the cause.
        """
        try:
            with open_ordinary(Path(self._path), mode) as file:
                if _identity(os.fstat(file.fileno())) != self._file:
                    raise StorageInternalError(_REPLACED)
                yield file
        except FileNotFoundError:
            raise StorageInternalError("it was removed meanwhile; put it back, and go on") from None
        except OSError as error:
            raise StorageInternalError("the file cannot be used") from error

    @contextmanager
    def _open_alone(self) -> Iterator[BinaryIO]:
        """The file while nobody else writes, ending with a whole line."""
        with self._open("rb+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            end = file.seek(0, os.SEEK_END)
            self._check(file, end)
            if end != self._end:
                _drop_damaged_line(file)
            yield file


def _identity(file: os.stat_result) -> tuple[int, int]:
    return file.st_dev, file.st_ino


def _line(record: Mapping[str, Any]) -> bytes:
    """A record as a line that ends with its checksum."""
    text = json.dumps(record, separators=(",", ":")).encode()
    return b'%s,"crc":"%08x"}\n' % (text[:-1], zlib.crc32(text[:-1]))


def _read(line: bytes) -> dict[str, Any] | None:
    """The record of a line; None if the line is damaged. Those of Optuna and earlier releases have no checksum."""
    told = _CHECKSUM.fullmatch(line[-_CHECKSUM_BYTES:])
    if not line.endswith(b"\n") or (told is not None and zlib.crc32(line[:-_CHECKSUM_BYTES]) != int(told[1], 16)):
        return None
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    record.pop("crc", None)
    return record


def _drop_damaged_line(file: BinaryIO) -> None:
    """Cut off a last line that is no record: a process was killed in the middle of it, or the disk lost some of it.

    Appended to, it would be neither its own record nor the next one's, and the whole journal could not be read.
    """
    begin = _begin_of_last_line(file)
    file.seek(begin)
    if _read(file.read()) is None:
        file.truncate(begin)
        file.seek(begin)


def _begin_of_last_line(file: BinaryIO) -> int:
    """Where the last line begins, be it ended or not."""
    begin, tail = file.seek(0, os.SEEK_END), b""
    while begin > 0 and b"\n" not in tail[:-1]:
        step = min(_BLOCK_BYTES, begin)
        begin = file.seek(begin - step)
        tail = file.read(step) + tail
    return begin + tail[:-1].rfind(b"\n") + 1
