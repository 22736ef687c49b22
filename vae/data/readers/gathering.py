"""Rows that come one after the other, gathered in memory or, where they would fill it, in a file."""

import tempfile
from contextlib import suppress
from pathlib import Path
from typing import IO

import numpy as np

from klsearch.vae.data.readers.raw import DataProblem, refuse_beyond_memory
from klsearch.vae.data.rows import empty_rows, is_small
from klsearch.vae.host.machine import free_memory

_CHUNK_BYTES = 2**26
# Of the memory that was free at first. The rest is for training, and for others.
_SHARE = 0.5


class Gathering:
    """Gathers rows of one shape and type.

    Whole numbers of one or two bytes go on into a file once they would fill memory: they are trained on there. All
    others are to be copied as float32, which must fit. The file has no name, and is gone with whoever reads it.

    Args:
        name: what messages call the rows.
        folder: where such a file is to lie; it lies among temporary files if that cannot be written to.
    """

    def __init__(self, name: str, folder: Path) -> None:
        self._name = name
        self._folder = folder
        self._most = _SHARE * free_memory()
        self._new: list[np.ndarray] = []
        self._new_bytes = 0
        self._chunks: list[np.ndarray] = []
        self._file: IO[bytes] | None = None
        self._shape: tuple[int, ...] = ()
        self._count = 0

    def add(self, row: np.ndarray) -> None:
        """Take another row.

        Raises:
            DataProblem: there is no room for it.
            ValueError: it is of another shape than one before.
        """
        self._new.append(row)
        self._new_bytes += row.nbytes
        if self._new_bytes >= _CHUNK_BYTES:
            self._stack()

    def rows(self) -> np.ndarray:
        """All rows [N, *shape], aligned; this ends the gathering. Of no row, shape [0].

        Raises:
            DataProblem, ValueError: as `add` does.
        """
        self._stack()
        if self._file is not None:
            with self._file as file:
                return np.memmap(file, self._dtype, mode="r+", shape=(self._count, *self._shape))
        gathered = empty_rows((self._count, *self._shape), self._dtype)
        first = 0
        for place, chunk in enumerate(self._chunks):
            gathered[first : first + len(chunk)] = chunk
            first += len(chunk)
            self._chunks[place] = chunk[:0].copy()  # its memory is free for what follows
        return gathered

    @property
    def _dtype(self) -> np.dtype:
        return np.result_type(*self._chunks) if self._chunks else np.dtype(np.float32)

    def _stack(self) -> None:
        """Put what is new into a chunk, and chunks into a file if they would fill memory."""
        if not self._new:
            return
        chunk = np.stack(self._new)
        if self._chunks and chunk.shape[1:] != self._shape:
            raise ValueError("rows differ in shape")
        self._shape = chunk.shape[1:]
        self._count += len(chunk)
        self._new, self._new_bytes = [], 0
        self._chunks.append(chunk)
        if not is_small(chunk.dtype):
            refuse_beyond_memory(self._name, self._count * chunk[0].size, None)
        elif self._file is not None or self._count * chunk[0].nbytes > self._most:
            self._write()

    def _write(self) -> None:
        try:
            if self._file is None:
                self._file = _open_nameless(self._folder)
            for place, chunk in enumerate(self._chunks):
                self._file.write(chunk.data)
                self._chunks[place] = chunk[:0].copy()
            self._file.flush()
        except OSError as error:
            if self._file is not None:
                with suppress(OSError):
                    self._file.close()
            raise DataProblem(
                f"{self._name}: {self._count:,} rows fill half of the free memory, and no file takes them "
                f"({error.strerror}); take only the first rows with data.rows"
            ) from error


def _open_nameless(folder: Path) -> IO[bytes]:
    try:
        return tempfile.TemporaryFile(dir=folder)
    except OSError:
        return tempfile.TemporaryFile()
