"""IDX files, the format in which MNIST and its kin are given away, gzipped or not."""

import gzip
import math
import re
import struct
import zlib
from pathlib import Path
from typing import IO

import numpy as np

from klsearch.vae.data.readers.raw import DataProblem, RawData, Request, reading, refuse_beyond_memory
from klsearch.vae.data.rows import empty_rows

# The third byte of the header, as http://yann.lecun.com/exdb/mnist describes it; all are big-endian.
_DTYPES = {0x08: ">u1", 0x09: ">i1", 0x0B: ">i2", 0x0C: ">i4", 0x0D: ">f4", 0x0E: ">f8"}
_MOST_DIMENSIONS = 64  # of an array of NumPy's
_CHUNK = 1 << 20
_NAMED_IDX = re.compile(r"[-.]idx\d")


def idx_files(folder: Path) -> list[Path]:
    """The IDX files of a folder by name, files of training rows first, as their publishers number the rows.

    Of a file that is there gzipped and unpacked, the unpacked one.
    """
    found = {path for path in folder.iterdir() if _NAMED_IDX.search(path.name) and path.is_file()}
    files = [path for path in found if path.suffix != ".gz" or path.with_suffix("") not in found]
    return sorted(files, key=lambda path: (not path.name.startswith("train"), path.name))


def read_idx_folder(folder: Path, files: list[Path], request: Request) -> RawData:
    """The rows of all IDX files of a folder, one after the other, with their labels where every file has its own.

    Files of one dimension hold labels, all others hold rows.
    """
    request.refuse("array", *request.beside_keys, because="IDX files name nothing within; their labels are found")
    arrays = {path: _read(path) for path in files}
    row_files = [path for path, array in arrays.items() if array.ndim > 1]
    labels = [array for array in arrays.values() if array.ndim == 1]
    if not row_files:
        raise DataProblem(f"{folder}: none of its IDX files holds rows; all have one dimension")
    for path in row_files:
        if arrays[path].shape[1:] != arrays[row_files[0]].shape[1:]:
            raise DataProblem(
                f"{path}: rows of shape {list(arrays[path].shape[1:])} cannot join those of {row_files[0].name}, "
                f"of shape {list(arrays[row_files[0]].shape[1:])}; keep them in folders of their own"
            )
    parts = [arrays[path] for path in row_files]
    rows = parts[0][: request.rows] if len(parts) == 1 else _join(parts, request.rows)
    matching = [len(array) for array in labels] == [len(arrays[path]) for path in row_files]
    return RawData(
        name=folder.name,
        rows=rows,
        labels=np.concatenate(labels)[: request.rows] if matching else None,
    )


def _join(parts: list[np.ndarray], count: int | None) -> np.ndarray:
    """The first so many rows of all parts, one after the other; all rows if None."""
    held = sum(map(len, parts))
    left = count = held if count is None else min(count, held)
    rows = empty_rows((count, *parts[0].shape[1:]), np.result_type(*parts))
    for part in parts:
        taken = part[:left]
        rows[count - left : count - left + len(taken)] = taken
        left -= len(taken)
    return rows


def _read(path: Path) -> np.ndarray:
    """One file's array; an unpacked one is mapped into memory, and read where it is used."""
    opened: IO[bytes] = gzip.open(path) if path.suffix == ".gz" else path.open("rb")  # type: ignore[assignment]
    with reading(str(path)), opened as file:
        try:
            dtype, shape = _header(path, file)
            refuse_beyond_memory(path.name, math.prod(shape), dtype)
            needed = math.prod(shape) * dtype.itemsize
            if path.suffix != ".gz" and path.stat().st_size - file.tell() >= needed > 0:
                mapped = np.memmap(path, dtype, mode="r", offset=file.tell(), shape=shape)
                return mapped.astype(dtype.newbyteorder("="), copy=False)
            content = file.read(needed)
            while path.suffix == ".gz" and file.read(_CHUNK):
                pass  # The checksum of a packed file is compared at its end.
        except (gzip.BadGzipFile, EOFError, zlib.error) as error:
            raise DataProblem(f"{path}: is damaged: {error}") from error
        if len(content) < needed:
            raise DataProblem(f"{path}: is cut short: {len(content):,} of {needed:,} bytes of shape {list(shape)}")
        return np.frombuffer(content, dtype).reshape(shape).astype(dtype.newbyteorder("="), copy=False)


def _header(path: Path, file: IO[bytes]) -> tuple[np.dtype, tuple[int, ...]]:
    """The type and shape that the file says it holds."""
    magic = file.read(4)
    if len(magic) < 4 or magic[:2] != b"\0\0" or magic[2] not in _DTYPES or magic[3] == 0:
        raise DataProblem(f"{path}: is no IDX file; it begins with {magic.hex(' ') or 'nothing'}")
    if magic[3] > _MOST_DIMENSIONS:
        raise DataProblem(f"{path}: is no IDX file of rows; it says that it has {magic[3]} dimensions")
    sizes = file.read(4 * magic[3])
    if len(sizes) < 4 * magic[3]:
        raise DataProblem(f"{path}: is cut short within its header")
    return np.dtype(_DTYPES[magic[2]]), struct.unpack(f">{magic[3]}I", sizes)
