"""NumPy's own files. Nothing in them is ever unpickled."""

import difflib
import math
import zipfile
import zlib
from collections.abc import Iterable

import numpy as np
from numpy.lib import format as npy_format

from klsearch.vae.data.readers.raw import DataProblem, RawData, Request, refuse_beyond_memory, refuse_missing
from klsearch.vae.data.rows import can_be_kept

_SUFFIX = ".npy"
# From there on rows are trained on in the file, which nobody may change meanwhile; fewer are copied.
_MAPPED_BYTES = 2**26


def read_npy(request: Request) -> RawData:
    """The rows of an .npy file, mapped into memory: only those asked for are ever read.

    Many small whole numbers may be written to: that changes no file. All others are to be copied.
    """
    request.refuse("array", because="only an .npz holds several arrays")
    request.refuse(*request.beside_keys, because="an .npy has no columns by name; use an .npz, .csv or .parquet")
    name = request.path.name
    try:
        # Mapped, not read: the shape is known before memory is taken.
        mapped = npy_format.open_memmap(request.path, mode="r")
    except ValueError as error:
        raise DataProblem(_explain_unreadable(name, error)) from error
    if mapped.ndim == 0:
        return RawData(name=name, rows=np.array(mapped))
    wanted = mapped[: request.rows]
    if wanted.nbytes >= _MAPPED_BYTES and can_be_kept(wanted):
        # TensorFlow takes no array that must not be written; what is written into this one stays in memory.
        wanted = np.memmap(request.path, wanted.dtype, mode="c", offset=mapped.offset, shape=wanted.shape)
    else:
        refuse_beyond_memory(name, wanted.size, wanted.dtype)
    return RawData(name=name, rows=wanted)


def read_npz(request: Request) -> RawData:
    """The rows of one array of an .npz file, with the arrays beside it that hold labels, groups or splits."""
    name = request.path.name
    try:
        with zipfile.ZipFile(request.path) as archive:
            held = [member.removesuffix(_SUFFIX) for member in archive.namelist() if member.endswith(_SUFFIX)]
            chosen = _choose_array(name, held, request)
            for array in (chosen, *(_check_held(name, array, held) for array in _beside(request))):
                size, dtype = _size_and_dtype(archive, array)
                if dtype.hasobject:
                    raise DataProblem(
                        f"{name}: '{array}' holds Python objects, which are never unpickled; save it as "
                        f"{array}.astype(str), or .astype(float) if it holds numbers"
                    )
                refuse_beyond_memory(f"{name} ({array})", size, dtype)
        with np.load(request.path, allow_pickle=False) as arrays:
            rows = arrays[chosen]
            beside = {key: arrays[array] for key, array in request.beside_rows.items()}
            conditions = {array: arrays[array] for array in request.condition}
    except DataProblem:
        raise
    except (ValueError, EOFError, OSError, zipfile.BadZipFile, zlib.error) as error:
        raise DataProblem(_explain_unreadable(name, error)) from error
    if rows.ndim == 0:
        return RawData(name=name, rows=rows)
    beside = {key: _check_one_per_row(name, array, beside[key], rows) for key, array in request.beside_rows.items()}
    first = slice(request.rows)
    return RawData(
        name=f"{name} ({chosen})",
        rows=rows[first],
        labels=beside["labels"][first] if "labels" in beside else None,
        group=beside["group"][first] if "group" in beside else None,
        split=beside["split_column"][first] if "split_column" in beside else None,
        conditions={array: _check_leading(name, array, values, rows)[first] for array, values in conditions.items()},
    )


def _beside(request: Request) -> list[str]:
    """The names of the arrays that are not the rows."""
    return [*request.beside_rows.values(), *request.condition]


def _check_leading(name: str, array: str, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of a condition, if it has as many as there are rows."""
    if values.shape[:1] != rows.shape[:1]:
        raise DataProblem(
            f"{name}: the condition '{array}' must hold a value for each of {len(rows)} rows, but has shape "
            f"{list(values.shape)}"
        )
    return values


def _check_one_per_row(name: str, array: str, values: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """The values of an array beside the rows, if it has one for each."""
    if values.shape != rows.shape[:1]:
        raise DataProblem(
            f"{name}: '{array}' must hold one value for each of {len(rows)} rows, but has shape {list(values.shape)}"
        )
    refuse_missing(name, array, values)
    return values


def _choose_array(name: str, held: list[str], request: Request) -> str:
    """The array that holds the rows: the one named, else the only one left."""
    if request.array is not None:
        return _check_held(name, request.array, held)
    left = [array for array in held if array not in _beside(request)]
    if held and not left:
        keys = " and ".join(f"data.{key}" for key in request.beside_keys)
        named = f"{keys} {'name' if len(request.beside_keys) > 1 else 'names'}"
        raise DataProblem(
            f"{name}: holds {_list_names(held)}, which {named}, so that none is left to learn; name the data nowhere "
            "but in data.array"
        )
    if len(left) != 1:
        raise DataProblem(
            f"{name}: holds {_list_names(held)}; say which are the data with data.array (`klsearch init --array`)"
        )
    return left[0]


def _check_held(name: str, array: str, held: list[str]) -> str:
    if array in held:
        return array
    near = difflib.get_close_matches(array, held, n=1)
    hint = f"did you mean '{near[0]}'?" if near else f"it holds {_list_names(held)}"
    raise DataProblem(f"{name}: has no array '{array}'; {hint}")


def _list_names(names: Iterable[str]) -> str:
    return ", ".join(f"'{name}'" for name in names) or "no arrays"


def _size_and_dtype(archive: zipfile.ZipFile, array: str) -> tuple[int, np.dtype]:
    """The size and type of an array by its header, without reading its values."""
    with archive.open(array + _SUFFIX) as member:
        version = npy_format.read_magic(member)
        read_header = npy_format.read_array_header_1_0 if version == (1, 0) else npy_format.read_array_header_2_0
        shape, _, dtype = read_header(member)
    return math.prod(shape), dtype


def _explain_unreadable(name: str, error: Exception) -> str:
    """NumPy's reason in plainer words; it takes whatever it does not know for a pickle."""
    reason = str(error)
    if "pickle" in reason or "Python objects" in reason:
        return f"{name}: is not a NumPy file of plain numbers (Python objects in it are never unpickled)"
    if "magic string" in reason or not reason:
        return f"{name}: is not a NumPy file"
    return f"{name}: cannot be read: {reason}"
