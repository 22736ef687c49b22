"""The journal file: Optuna's embedded storage, as several processes append to it."""

import fcntl
import json
import os
import time
from collections.abc import Generator, Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO

from optuna.exceptions import StorageInternalError
from optuna.storages.journal import JournalFileBackend

_FLUSH_SECONDS = 1.0
_BLOCK_BYTES = 65536


class JournalFile(JournalFileBackend):
    """Optuna's journal file with another way to append.

    The lock is the system's own, on the file itself. The system releases it when its process ends, however it ends;
    Optuna's lock files stay behind a killed process, and the next one to write waits for half a minute before it takes
    them away.

    What is appended is at once with the operating system, so it outlives a killed process, and is flushed to the disk
    about once a second: a machine that loses its power loses so much. To flush each of the eight records of a trial
    took 3 to 4 ms each, a fifth of the time that a small model trains.

    Args:
        path: the file; made if it is not there.
    """

    def __init__(self, path: str) -> None:
        super().__init__(path)
        self._path = path
        self._end = 0  # of what this process appended last, which is whole
        self._flushed = 0.0
        self._is_flushed = True

    def read_logs(self, log_number_from: int) -> Generator[dict[str, Any], None, None]:
        """Read the records from a number on, up to a damaged last one, which the next to write cuts off.

        Raises:
            StorageInternalError: a line before the last is damaged.
        """
        number = log_number_from
        try:
            for log in super().read_logs(log_number_from):
                yield log
                number += 1
        except ValueError:
            self._log_number_offset.pop(number + 1, None)
            with open(self._path, "rb") as file:
                file.seek(self._log_number_offset[number])
                file.readline()
                is_last = not file.read(1)
            if not is_last:
                raise StorageInternalError(f"line {number + 1} is damaged; restore the file from a copy") from None

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write records at the end of the file."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with self._open_alone() as file:
            file.write(lines.encode())
            file.flush()
            self._end = file.tell()
            self._is_flushed = False
            if time.monotonic() - self._flushed >= _FLUSH_SECONDS:
                self._flush(file)

    def close(self) -> None:
        """Flush what was appended last."""
        if not self._is_flushed:
            with open(self._path, "ab") as file:
                self._flush(file)

    def _flush(self, file: BinaryIO) -> None:
        os.fsync(file.fileno())
        self._flushed, self._is_flushed = time.monotonic(), True

    @contextmanager
    def _open_alone(self) -> Iterator[BinaryIO]:
        """The file while nobody else writes, ending with a whole line."""
        with open(self._path, "ab+") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if file.seek(0, os.SEEK_END) != self._end:
                _drop_damaged_line(file)
            yield file


def _drop_damaged_line(file: BinaryIO) -> None:
    """Cut off a last line that is no record: a process was killed in the middle of it, or the disk lost some of it.

    Appended to, it would be neither its own record nor the next one's, and the whole journal could not be read.
    """
    begin = _begin_of_last_line(file)
    file.seek(begin)
    line = file.read()
    try:
        json.loads(line)
        is_whole = line.endswith(b"\n")
    except ValueError:
        is_whole = False
    if not is_whole:
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
