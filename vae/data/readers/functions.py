"""Rows that a function of the user's own gives."""

import contextlib
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import numpy as np

from klsearch.vae.data.readers.gathering import Gathering
from klsearch.vae.data.readers.raw import DataProblem, RawData, Request, is_of_condition, reading
from klsearch.vae.data.readers.tables.frames import from_frame
from klsearch.vae.host.own_code import CodeProblem, load_function, one_line, with_line
from klsearch.vae.host.quiet import hide_start_up_lines, stdout_to_stderr

_WITH_TENSORFLOW = ("tensorflow", "keras")


def read_function(request: Request) -> RawData:
    """The rows that the user's function returns, called without arguments.

    It may return an array [N, *row shape], a pair (rows, labels), a triple (rows, labels or None, condition), a pandas
    data frame, also as the rows of these, or a `tf.data.Dataset` whose elements are rows, (row, label) or (row, label,
    condition); batches are unbatched where they show: they vary in size, or hold labels.

    Meanwhile the working folder is that of the definition, so that paths in the function are relative to it, as they
    are in the definition.

    Raises:
        DataProblem: with the function's own error and the line that raised it, or with what it returned instead.
    """
    with contextlib.chdir(request.folder), _own_code(request), stdout_to_stderr():
        function = load_function(request.source, request.folder)
        with hide_start_up_lines() if _loads_tensorflow(function) else contextlib.nullcontext():
            returned = function()
        with reading(request.source):
            return _take(request, returned)


def _loads_tensorflow(function: Any) -> bool:
    """Tell whether a function imports TensorFlow, or Keras, itself; the output of all others is shown as it comes."""
    names = getattr(getattr(function, "__code__", None), "co_names", ())
    return "tensorflow" not in sys.modules and any(name.split(".")[0] in _WITH_TENSORFLOW for name in names)


@contextmanager
def _own_code(request: Request) -> Iterator[None]:
    """A block that runs code of the user's own, be it that of an object; its end of the process is an error too.

    Raises:
        DataProblem: the block raised anything; with the line that did.
    """
    try:
        yield
    except (DataProblem, KeyboardInterrupt):
        raise
    except CodeProblem as problem:
        raise DataProblem(str(problem)) from problem
    except BaseException as error:
        raise DataProblem(f"{request.source}: {with_line(error, request.folder)}") from error


def _take(request: Request, returned: Any) -> RawData:
    """The rows in what the function returned."""
    name = request.source
    if hasattr(returned, "iloc"):
        request.refuse("array", because="a data frame has columns, named by data.labels and the like")
        return _take_frame(request, returned)
    request.refuse("array", *request.beside_rows, because="what the function returns has no columns by name")
    if hasattr(returned, "as_numpy_iterator"):
        returned = _from_tensorflow(request, returned)
    conditions = dict[str, np.ndarray]()
    if _is_triple(returned):
        *returned, condition = returned
        returned = tuple(returned)
        conditions = _take_conditions(request, condition)
    elif request.condition:
        request.refuse("condition", because="return three values, (rows, labels or None, condition), or a data frame")
    rows, labels = returned if isinstance(returned, tuple) and len(returned) == 2 else (returned, None)
    if labels is not None:
        labels = _take_first(name, labels, request.rows)
        labels = labels[:, 0] if labels.ndim == 2 and labels.shape[1] == 1 else labels
    if hasattr(rows, "iloc"):
        kinds = {column: kind for column, kind in request.columns.items() if not is_of_condition(column, conditions)}
        raw = _take_frame(replace(request, condition=(), columns=kinds), rows)
        return replace(raw, labels=labels, conditions=conditions)
    return RawData(name=name, rows=_take_first(name, rows, request.rows), labels=labels, conditions=conditions)


def _take_frame(request: Request, frame: Any) -> RawData:
    """The first rows of a pandas frame, or of a series, which is its only column."""
    frame = frame if hasattr(frame, "columns") else frame.to_frame()
    return from_frame(request.source, frame if request.rows is None else frame.head(request.rows), request)


def _is_triple(returned: Any) -> bool:
    """Tell whether these are rows, labels and a condition, and not three rows."""
    return isinstance(returned, tuple) and len(returned) == 3 and getattr(returned[0], "ndim", 0) > 1


def _take_conditions(request: Request, condition: Any) -> dict[str, np.ndarray]:
    """The third value by the names of `data.condition`: an array under the only one, or a dictionary of arrays."""
    name, asked = request.source, request.condition
    held = condition if isinstance(condition, Mapping) else None
    if not asked:
        names = ", ".join(f'"{key}"' for key in held) if held else '"name"'
        raise DataProblem(
            f"{name}: returned three values, of which the third is taken for a condition; say so with data.condition = "
            f"[{names}], or return two"
        )
    if held is None and len(asked) > 1:
        raise DataProblem(
            f"{name}: data.condition names {len(asked)} conditions, but the third value is one; return a dictionary of "
            "them by name"
        )
    by_name = {asked[0]: condition} if held is None else held
    for key in asked:
        if key not in by_name:
            raise DataProblem(
                f"{name}: has no condition '{key}' (data.condition); it has {', '.join(map(str, by_name))}"
            )
    return {key: _take_first(name, by_name[key], request.rows) for key in asked}


def _take_first(name: str, values: Any, count: int | None) -> np.ndarray:
    """The first values of what was returned, as an array."""
    if values is None:
        raise DataProblem(f"{name}: returned nothing; return an array of shape [rows, …]")
    if hasattr(values, "toarray"):
        kind = type(values).__name__
        raise DataProblem(f"{name}: returned a sparse matrix ({kind}), which is not trained on; return its .toarray()")
    if isinstance(values, np.ma.MaskedArray) and np.ma.is_masked(values):  # pandas' arrays have masks of their own
        values = _without_mask(values)
    try:
        array = np.asarray(values)
    except ValueError as error:
        raise DataProblem(f"{name}: returned rows that do not form one array: {error}") from error
    if not array.ndim and array.dtype == object:
        kind = type(values).__name__
        held = f" with {', '.join(map(repr, list(values)[:5]))}" if isinstance(values, Mapping) else ""
        raise DataProblem(
            f"{name}: returned an object of type {kind}{held}; return an array [rows, …], a pair (rows, labels) or a "
            "pandas data frame"
        )
    return array[:count] if array.ndim else array


def _without_mask(values: "np.ma.MaskedArray[Any, Any]") -> np.ndarray:
    """A masked array with NaN, or None beside what is no number, where it is masked."""
    plain = np.array(values.data, np.float64 if values.dtype.kind in "biuf" else object)
    plain[np.ma.getmaskarray(values)] = np.nan if plain.dtype == np.float64 else None
    return plain


def _from_tensorflow(request: Request, dataset: Any) -> Any:
    """The elements of a `tf.data.Dataset` as one array, or as (rows, labels), or with a condition as third."""
    name, count = request.source, request.rows
    paired = isinstance(dataset.element_spec, tuple)
    parts = dataset.element_spec if paired else (dataset.element_spec,)
    if len(parts) > 3 or not all(hasattr(part, "shape") for part in parts):
        raise DataProblem(
            f"{name}: the data set's elements must be rows, (row, label) or (row, label, condition); map them to that"
        )
    if _are_repeated(*(part.shape for part in parts[:2])):
        wanted = "the row alone: .map(lambda row, _: row)" if len(parts) == 2 else "(row, label, condition)"
        raise DataProblem(
            f"{name}: the second of each element is as large as the row, {list(parts[0].shape)}, as where it repeats "
            f"it for Keras; map to {wanted}"
        )
    if _is_batched(*(part.shape for part in parts[:2])):
        dataset = dataset.unbatch()
    if count is not None:
        dataset = dataset.take(count)
    if dataset.cardinality() == -1:  # tf.data.INFINITE_CARDINALITY
        raise DataProblem(f"{name}: the data set repeats without end; leave out .repeat(), or set data.rows")
    gathering, beside = Gathering(name, request.folder), list[list[Any]]([] for _ in parts[1:])
    try:
        for element in _elements(name, dataset):
            row, *others = element if paired else (element,)
            gathering.add(np.asarray(row))
            for values, value in zip(beside, others, strict=True):
                values.append(value)
        rows, *stacked = gathering.rows(), *map(np.stack, beside)
    except DataProblem:
        raise
    except ValueError as error:
        raise DataProblem(f"{name}: the data set's rows differ in shape; make them alike") from error
    if not len(rows):
        raise DataProblem(f"{name}: the data set is empty")
    return (rows, *stacked) if paired else rows


def _elements(name: str, dataset: Any) -> Iterator[Any]:
    try:
        yield from dataset.as_numpy_iterator()
    except Exception as error:  # Whatever the user's own map functions raise, in TensorFlow's words.
        raise DataProblem(f"{name}: the data set fails: {one_line(error)}") from error


def _are_repeated(rows: Any, labels: Any = None) -> bool:
    """Tell whether what stands beside rows, or batches of them, has their shape, of more than one label for each."""
    if labels is None or not rows.rank or not labels.rank or rows.as_list() != labels.as_list():
        return False
    return rows.rank > 1 or rows[0] is not None


def _is_batched(rows: Any, labels: Any = None) -> bool:
    """Tell whether elements of these shapes are batches: of a size that varies, or one label for each row in them."""
    if not rows.rank or (labels is not None and not labels.rank):
        return False
    return rows[0] is None or (labels is not None and bool(labels[0] == rows[0]))
