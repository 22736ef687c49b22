"""The way from what a user calls their data to the rows that it holds."""

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from klsearch.vae.data.readers.arrays import read_npy, read_npz
from klsearch.vae.data.readers.functions import read_function
from klsearch.vae.data.readers.idx import idx_files, read_idx_folder
from klsearch.vae.data.readers.images import image_files, read_images
from klsearch.vae.data.readers.raw import (
    DATA_COLUMNS,
    DataProblem,
    RawData,
    Request,
    is_of_condition,
    reading,
    toml_key,
    toml_text,
)
from klsearch.vae.data.readers.tables.layout import PACKINGS, SUFFIXES, is_text_table
from klsearch.vae.data.readers.tables.parquet import read_parquet
from klsearch.vae.data.readers.tables.text import read_text
from klsearch.vae.host.own_code import is_function

_PACKAGED = ("fashion-mnist", "mnist")
_BUILT_IN = ("digits", *_PACKAGED)
_READERS: dict[str, Callable[[Request], RawData]] = {
    ".npy": read_npy,
    ".npz": read_npz,
    ".parquet": read_parquet,
}
# Where Debian's packages (dataset-fashion-mnist) put them.
_DEBIAN_FOLDER = Path("/usr/share/datasets")


def is_path(source: str) -> bool:
    """Tell whether a source is a file or folder, neither built in nor a function of the user's own."""
    return source not in _BUILT_IN and not is_function(source)


def read_source(request: Request) -> RawData:
    """The rows of any source.

    Raises:
        DataProblem: it is not there, cannot be read, or needs more memory than is free; or `request.columns` names what
            it has not.
    """
    raw = _read(request)
    _refuse_columns(request, raw)
    return replace(
        raw,
        labels=_without_blanks(raw.labels),
        group=_without_blanks(raw.group),
        conditions={name: np.asarray(_without_blanks(values)) for name, values in raw.conditions.items()},
    )


def _without_blanks(values: np.ndarray | None) -> np.ndarray | None:
    """Words with nothing about them, as those of tables are; numbers as they are."""
    if values is None or values.dtype.kind not in "USOT":
        return values
    if values.dtype.kind in "US":
        return np.char.strip(values)
    stripped = values.copy()
    for place, value in np.ndenumerate(values):
        if isinstance(value, str | bytes):
            stripped[place] = value.strip()
    return stripped


def _refuse_columns(request: Request, raw: RawData) -> None:
    """Refuse what is said of columns of rows that are no table, unless it is said of a condition."""
    if raw.table is not None:  # whose columns its reader looks for
        return
    for key, kind in request.columns.items():
        if not is_of_condition(key, raw.conditions):
            raise DataProblem(
                f"{request.source}: {DATA_COLUMNS} {toml_key(key)} = {toml_text(kind)} cannot be used: only tables "
                f"have columns by name, and {key!r} is no condition; leave it out, or save the rows as .csv or .parquet"
            )


def _read(request: Request) -> RawData:
    if request.source == "digits":
        return _digits(request)
    if request.source in _PACKAGED:
        return _read_packaged(request, (_DEBIAN_FOLDER, _keras_folder() / "datasets"), _download)
    if is_function(request.source):
        return read_function(request)
    with reading(str(request.path)):
        return _of_numbers(_read_path(request))


def _of_numbers(raw: RawData) -> RawData:
    """Rows of truth values as 0 and 1.

    Raises:
        DataProblem: they are times.
    """
    if raw.rows.dtype.kind in "mM":
        raise DataProblem(f"{raw.name}: holds dates or times (dtype {raw.rows.dtype}); turn them into numbers")
    return replace(raw, rows=raw.rows.astype(np.uint8)) if raw.rows.dtype == bool else raw


def _digits(request: Request) -> RawData:
    """The 1,797 images of 8×8 pixels in 0–16 that scikit-learn ships."""
    request.refuse("array", *request.beside_keys, because="these data come with their labels and nothing else")
    table = _read_digits()
    rows, labels = table[:, :-1].reshape(-1, 8, 8), table[:, -1].astype(int)
    return RawData(name="digits", rows=rows[: request.rows], labels=labels[: request.rows])


def _read_digits() -> np.ndarray:
    """The digits as a table, float64 [1797, 65], whose last column are the labels.

    scikit-learn's own function would give them too, after the second that scikit-learn takes to load.
    """
    package = find_spec("sklearn")
    for folder in () if package is None else package.submodule_search_locations or ():
        if (file := Path(folder, "datasets", "data", "digits.csv.gz")).is_file():
            return np.loadtxt(file, delimiter=",")
    from sklearn.datasets import load_digits

    digits = load_digits()
    return np.column_stack([digits.data, digits.target])


def _read_packaged(request: Request, folders: tuple[Path, ...], download: Callable[[str], RawData]) -> RawData:
    """A well-known set of 70,000 images: from the first folder that holds its IDX files, else downloaded."""
    request.refuse("array", *request.beside_keys, because="these data come with their labels and nothing else")
    for folder in (parent / request.source for parent in folders):
        if folder.is_dir() and (files := idx_files(folder)):
            return read_idx_folder(folder, files, request)
    try:
        raw = download(request.source)
    except Exception as error:  # Keras raises a bare Exception where a download fails.
        remedy = "`apt-get install dataset-fashion-mnist`" if request.source == "fashion-mnist" else "go online once"
        looked = " or ".join(str(parent / request.source) for parent in folders)
        raise DataProblem(
            f"{request.source}: not in {looked}, and Keras cannot download it ({error}); {remedy}, or put its IDX "
            f"files into a folder and name that as data.source"
        ) from error
    labels = raw.labels[: request.rows] if raw.labels is not None else None
    return RawData(name=raw.name, rows=raw.rows[: request.rows], labels=labels)


def _keras_folder() -> Path:
    """The folder where Keras keeps what it downloads."""
    return Path(os.environ.get("KERAS_HOME") or "~/.keras").expanduser()


def _download(name: str) -> RawData:
    """Keras's copy, from its cache or the network; training rows first."""
    from keras import datasets  # Loads TensorFlow; only where nothing on disk will do.

    with contextlib.redirect_stdout(sys.stderr):  # Keras shows its progress where results belong.
        (rows, labels), (more_rows, more_labels) = getattr(datasets, name.replace("-", "_")).load_data()
    return RawData(name=name, rows=np.concatenate([rows, more_rows]), labels=np.concatenate([labels, more_labels]))


def _read_path(request: Request) -> RawData:
    path = request.path
    if path.is_dir():
        return _read_folder(path, request)
    if not path.exists():
        raise DataProblem(
            f"{path}: no such file or folder, and '{request.source}' is none of {', '.join(_BUILT_IN)}; a function of "
            f"your own is written package.module:function"
        )
    if not path.is_file():
        raise DataProblem(f"{path}: is a pipe or device, which cannot be read twice; save the rows as a file")
    reader = read_text if is_text_table(path) else _READERS.get(path.suffix.lower())
    if reader is None:
        known = f"{', '.join((*SUFFIXES, *_READERS))} (text also as {', '.join(PACKINGS)})"
        raise DataProblem(f"{path}: files of data are {known}; save the rows as one of these")
    return reader(request)


def _read_folder(folder: Path, request: Request) -> RawData:
    if files := idx_files(folder):
        return read_idx_folder(folder, files, request)
    if files := image_files(folder):
        return read_images(folder, files, request)
    tables = sorted(path.name for path in folder.iterdir() if path.suffix.lower() in _READERS or is_text_table(path))
    hint = f"; name the file itself, such as {tables[0]}" if tables else ""
    raise DataProblem(f"{folder}: holds neither images nor IDX files{hint}")
