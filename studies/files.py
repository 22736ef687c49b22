"""Writing files that are never seen half written."""

import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedRandom
from pathlib import Path


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

    Raises:
        OSError: the folder cannot be written, or the disk is full; the error names a file, the old one is intact and
            nothing is left behind.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # Random, for process ids repeat among containers and machines that share the folder.
    unfinished = path.with_name(f"{unfinished_prefix(path)}{secrets.token_hex(8)}.tmp")
    file = unfinished.open("x+b")
    try:
        with file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(unfinished, path)
    except OSError as error:
        error.filename = error.filename or str(path)  # a write that fails does not name its file
        raise
    finally:
        unfinished.unlink(missing_ok=True)


def unfinished_prefix(path: Path) -> str:
    """The beginning of the names of files that killed processes left while they replaced `path`."""
    return f".{path.name}."
