"""Files of arrays under a seal: a hash over the whole file, verified before anything in it is read.

An archive's own checksums cover what its members hold, not what it says of them: flipped bits there lose arrays unseen.
"""

import hashlib
import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from klsearch.studies.files import open_to_replace, read_ordinary

_SEAL = "sha256"
_SEAL_BYTES = hashlib.new(_SEAL).digest_size  # at the end of the file


class DamagedFile(Exception):
    """A file is not as it was sealed, or never was; the message names it."""


def write_sealed(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write named arrays as a sealed `.npz` file, in one step; nothing in it is pickled.

    Raises:
        OSError: the folder cannot be written; the file before is intact.
    """
    with open_to_replace(path) as file:
        np.savez(file, allow_pickle=False, **arrays)
        file.seek(0)
        file.write(hashlib.file_digest(file, _SEAL).digest())


@contextmanager
def open_sealed(path: Path) -> Iterator[Mapping[str, np.ndarray]]:
    """Open what `write_sealed` wrote: its arrays, which are decoded when they are asked for.

    Raises:
        DamagedFile: a single bit of it has changed, or it is of something else.
        OSError: it cannot be read.
    """
    content = read_ordinary(path)
    arrays, seal = content[:-_SEAL_BYTES], content[-_SEAL_BYTES:]
    if hashlib.new(_SEAL, arrays).digest() != seal:
        raise DamagedFile(f"{path} is damaged or of something else")
    with np.load(io.BytesIO(arrays), allow_pickle=False) as opened:
        yield opened


def set_aside(path: Path) -> str:
    """Rename a damaged file, so that nobody reads it again; says what became of it."""
    aside = path.with_name(f"{path.name}.damaged")
    try:
        path.replace(aside)
    except OSError as error:
        return f"{path} is damaged or of something else, and cannot be set aside ({error.strerror})"
    return f"{path} is damaged or of something else; it was set aside as {aside.name}"
