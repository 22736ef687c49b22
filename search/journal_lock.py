"""The lock under which processes append to a journal file."""

import fcntl
import os
from typing import BinaryIO

from optuna.storages.journal._file import BaseJournalFileLock  # Optuna exports its locks, not their base


class JournalLock(BaseJournalFileLock):
    """The system's own lock on the journal file itself.

    The system releases it when its process ends, however it ends. Optuna's lock files stay behind a killed process,
    and the next one to write waits for half a minute before it takes them away.

    Args:
        path: the journal file.
    """

    def __init__(self, path: str) -> None:
        self._path = path
        self._file: BinaryIO | None = None

    def acquire(self) -> bool:
        """Wait until nobody else writes, and make the journal end with a whole line."""
        self._file = open(self._path, "ab+")
        fcntl.flock(self._file, fcntl.LOCK_EX)
        _drop_torn_line(self._file)
        return True

    def release(self) -> None:
        """Let others write."""
        if self._file is not None:
            self._file.close()
            self._file = None


def _drop_torn_line(file: BinaryIO) -> None:
    """Cut off a last line without its end: a process was killed in the middle of it, and nothing after it was read.

    Appended to, it would be neither its own record nor the next one's, and the whole journal could not be read.
    """
    end = file.seek(0, os.SEEK_END)
    if end == 0:
        return
    file.seek(end - 1)
    if file.read(1) == b"\n":
        return
    file.seek(0)
    file.truncate(file.read().rfind(b"\n") + 1)
