"""Checks that rows must pass before anything is trained on them."""

from dataclasses import replace

import numpy as np

from klsearch.vae.data.gaps import have_gaps
from klsearch.vae.data.readers.raw import (
    DATA_COLUMNS,
    ColumnProblem,
    DataProblem,
    RawData,
    Refusal,
    count_rows,
    find_missing,
    missing_word,
    owners_of,
)
from klsearch.vae.data.rows import Rows, extremes, slices

_WHAT_DTYPES_HOLD = {
    "c": "complex numbers",
    "O": "Python objects",
    "U": "text",
    "S": "text",
    "T": "text",
    "V": "records",
}
_FLOAT32_MAX = float(np.finfo(np.float32).max)


def check_rows(raw: RawData, *, missing: str = "refuse") -> None:
    """Refuse rows that cannot be trained on.

    Args:
        raw: the rows as read.
        missing: "refuse" NaN, or "mask" it, but for rows without any value.

    Raises:
        DataProblem: the first of: wrong shape, no rows, one row, no numbers, NaN or infinity (with the place of the
            first and their count), values beyond float32, labels that are not one value for each row, no variation.
    """
    _check_shape(raw)
    _check_numbers(raw, missing)
    if raw.labels is not None:
        _check_labels(raw.name, raw.labels, len(raw.rows))
    check_varies(raw.name, "all", raw.rows)


def _check_labels(name: str, labels: np.ndarray, rows: int) -> None:
    if len(labels) != rows:
        raise DataProblem(f"{name}: {rows:,} rows have {len(labels):,} labels; each row needs one")
    if labels.ndim != 1:
        raise DataProblem(f"{name}: the labels have shape {list(labels.shape)}; give one value for each row")
    missing = find_missing(labels)
    if missing.any():
        first, count = int(np.argmax(missing)), int(missing.sum())
        what = f"{count_rows(count)} {'has' if count == 1 else 'have'} no label"
        raise DataProblem(f"{name}: {what}, the first at row {first}{missing_word(labels[first])}; fill them in")
    try:
        np.unique(labels)
    except TypeError as error:
        raise DataProblem(f"{name}: the labels mix numbers and text; make all of them one or the other") from error


def check_varies(name: str, which: str, rows: Rows) -> None:
    """Refuse rows whose every column is constant.

    Raises:
        DataProblem: saying which rows were looked at.
    """
    low, high = extremes(rows, axis=0)
    if np.all(low == high):
        raise DataProblem(
            f"{name}: {which} {len(rows):,} rows are the same; there is nothing to learn from constant data"
        )


def check_counts(raw: RawData, otherwise: str = "use model.likelihood = 'gaussian'") -> None:
    """Refuse rows that a likelihood of counts cannot score; what is missing may be any.

    Args:
        raw: the rows.
        otherwise: the way out where they are none.

    Raises:
        DataProblem: with the first value that is no whole number from 0 on.
    """
    for some in slices(raw.rows.shape):
        rows = raw.rows[some]
        wrong = ~np.isnan(rows) & ((rows < 0) | (rows != np.rint(rows)))
        if wrong.any():
            row, *feature = (int(index) for index in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
            what = "is below 0" if rows[(row, *feature)] < 0 else "is no whole number"
            raise DataProblem(
                f"{raw.name}: {rows[(row, *feature)]:g} at {raw.place(some.start + row, *feature)} {what}, as counts "
                f"never are; give the raw counts, or {otherwise}"
            )


def check_kinds(raw: RawData) -> None:
    """Refuse rows that are no table's, and columns of counts that hold something else.

    Raises:
        DataProblem: naming the way out, or the first value that is no count.
    """
    if raw.table is None:
        raise DataProblem(
            f"{raw.name}: model.likelihood = 'mixed' scores the columns of a table by what they hold, and these rows "
            "are no table's; give a .csv, a .parquet or a data frame, or use 'gaussian'"
        )
    owners = owners_of(raw.table)
    counts = [at for at, column in enumerate(owners) if column.kind == "count"]
    if counts:
        names = tuple(owners[at].name for at in counts)
        check_counts(replace(raw, rows=raw.rows[:, counts], columns=names), f'say "number" in {DATA_COLUMNS}')


def check_columns(raw: RawData, train: Rows) -> None:
    """Refuse columns, or pixels, that no training row has.

    Raises:
        DataProblem: naming the first; of a table, a ColumnProblem with all of them.
    """
    if not have_gaps(train):
        return
    empty = np.argwhere(np.isnan(train[:]).all(axis=0))
    if len(empty):
        name = raw.feature_name(*map(int, empty[0])).rstrip(", ")
        more = f" (nor have {len(empty) - 1} more)" if len(empty) > 1 else ""
        if raw.table is None:
            raise DataProblem(f"{raw.name}: {name} has no value in any training row{more}; leave it out")
        owners = [column.name for column in owners_of(raw.table)]
        what = "no value in any training row"
        message = f'{raw.name}: {name} has {what}; {DATA_COLUMNS} can "ignore" it'
        raise ColumnProblem({owners[int(at)]: Refusal(what=what, message=message) for (at,) in empty})


def _check_shape(raw: RawData) -> None:
    shape = raw.rows.shape
    if raw.rows.dtype.kind in _WHAT_DTYPES_HOLD:
        held = _WHAT_DTYPES_HOLD[raw.rows.dtype.kind]
        raise DataProblem(f"{raw.name}: holds {held} (dtype {raw.rows.dtype}); only real numbers can be trained on")
    if not 2 <= len(shape) <= 4:
        raise DataProblem(
            f"{raw.name}: has shape {list(shape)}; a table needs [rows, columns], images [rows, height, width] or "
            f"[rows, height, width, channels]"
        )
    if 0 in shape:
        what = "no rows" if shape[0] == 0 else "rows without values"
        raise DataProblem(f"{raw.name}: is empty: {what} (shape {list(shape)})")
    if shape[0] == 1:
        raise DataProblem(f"{raw.name}: holds one row; training, validation and test need rows of their own")


def _check_numbers(raw: RawData, missing: str) -> None:
    if raw.rows.dtype.kind != "f":
        return
    if missing == "refuse":
        remedy = (
            'fill them in, remove those rows or columns, or leave them out of what is learned: data.missing = "mask"'
        )
        _refuse_where(raw, np.isnan(raw.rows), "NaN (no number)", remedy)
    empty = np.isnan(raw.rows).reshape(len(raw.rows), -1).all(axis=1)
    if empty.any():
        count = "1 row has" if empty.sum() == 1 else f"{int(empty.sum()):,} rows have"
        first = raw.place(int(np.argmax(empty)))
        raise DataProblem(f"{raw.name}: {count} no value at all, the first is {first}; remove such rows")
    _refuse_where(raw, np.isinf(raw.rows), "infinity", "remove or cap them")
    if raw.rows.dtype.itemsize > 4:
        _refuse_where(raw, np.abs(raw.rows) > _FLOAT32_MAX, "more than float32 can hold", "rescale them")


def _refuse_where(raw: RawData, wrong: np.ndarray, what: str, remedy: str) -> None:
    """Refuse if anything is wrong; `wrong` has the shape of the rows."""
    count = int(wrong.sum())
    if not count:
        return
    row, *feature = (int(index) for index in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
    total = "1 value" if count == 1 else f"{count:,} values, the first"
    raise DataProblem(f"{raw.name}: {what} in {total} at {raw.place(row, *feature)}; {remedy}")
