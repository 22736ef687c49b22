"""Writing files that are never seen half written, and reading only what is a file."""

import errno
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import BufferedRandom
from pathlib import Path
from typing import BinaryIO, Literal

_UNFINISHED = re.compile(r"\.(?P<of>.+)\.([0-9a-f]{16}|\d+)\.tmp")  # the latter, of a process id, by the first release


def write_atomically(path: Path, text: str) -> None:
    """Write UTF-8 text beside `path` and move it there in one step; missing folders are made.

    Raises:
        OSError: the folder cannot be written; the old file is intact and nothing is left behind.
    """
    with open_to_replace(path) as file:
        file.write(text.encode("utf-8", errors="backslashreplace"))


@contextmanager
def open_to_replace(path: Path) -> Iterator[BufferedRandom]:
    """A file to write beside `path`, which it replaces in one step when the block ends; missing folders are made.

    What processes left there that were killed while they replaced the same file is removed.

    Raises:
        OSError: the folder cannot be written, or the disk is full; the error names this file, the old one is intact
            and nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    remove_unfinished(path.parent, of=path.name)
    try:
        unfinished, file = _open_beside(path)
        try:
            with file:
                yield file
                file.flush()
                os.fsync(file.fileno())
                os.replace(unfinished, path)
        finally:
            unfinished.unlink(missing_ok=True)
    except OSError as error:
        if error.filename is None or _is_beside(Path(error.filename), path):
            error.filename = str(path)  # whoever reads it knows nothing of the one beside it
        raise


def read_ordinary(path: Path, *, most: int | None = None) -> bytes:
    """The content of an ordinary file.

    Args:
        path: of the file.
        most: bytes that it may have; what has more is not read.

    Raises:
        OSError: it cannot be read, is a pipe or a device, or has more; the error says why.
    """
    with open_ordinary(path, "rb") as file:
        content = file.read() if most is None else file.read(most + 1)
    if most is not None and len(content) > most:
        raise OSError(errno.EFBIG, f"it has more than {most:,} bytes", str(path))
    return content


def open_ordinary(path: Path, mode: Literal["rb", "rb+"]) -> BinaryIO:
    """Open an ordinary file. A pipe, which nobody may ever write to, and a device, which never ends, are refused.

    Raises:
        OSError: it cannot be opened, or is none.
    """
    return open(path, mode, opener=_open_at_once)


def _open_at_once(path: str, flags: int) -> int:
    opened = os.open(path, flags | os.O_NONBLOCK)  # else opening a pipe waits for its other end
    if not stat.S_ISREG(os.fstat(opened).st_mode):
        os.close(opened)
        raise OSError(errno.EINVAL, "it is no ordinary file", path)
    return opened


def remove_unfinished(folder: Path, *, of: str | None = None) -> None:
    """Remove what processes left in a folder that were killed while they replaced its files, or the one named `of`."""
    for path in folder.glob(".*.tmp"):
        found = _UNFINISHED.fullmatch(path.name)
        if found is not None and of in (None, found["of"]) and path.is_file():
            with suppress(OSError), path.open("rb") as file:  # a living process has it locked, or has just replaced it
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink()


def _is_beside(unfinished: Path, path: Path) -> bool:
    found = _UNFINISHED.fullmatch(unfinished.name)
    return found is not None and unfinished.with_name(found["of"]) == path


def _open_beside(path: Path) -> tuple[Path, BufferedRandom]:
    """A new file beside a path, locked for as long as it is open, so that others know that its process lives."""
    while True:
        # Random, for process ids repeat among containers and machines that share the folder.
        unfinished = path.with_name(f".{path.name}.{secrets.token_hex(8)}.tmp")
        file = unfinished.open("x+b")
        with suppress(OSError):  # a file system without locks
            fcntl.flock(file, fcntl.LOCK_EX)
        if os.fstat(file.fileno()).st_nlink:
            return unfinished, file
        file.close()  # removed before it was locked
