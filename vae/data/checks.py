"""Checks that rows must pass before anything is trained on them, and warnings to their user."""

import numpy as np

from klsearch.vae.data.readers.raw import DataProblem, RawData
from klsearch.vae.data.scaling import Scaling

_WHAT_DTYPES_HOLD = {"c": "complex numbers", "O": "Python objects", "U": "text", "S": "text", "V": "records"}
_FLOAT32_MAX = float(np.finfo(np.float32).max)
# Beyond this, unscaled values are known to make KL explode; standardised ones seldom pass 10.
_HUGE = 100.0
_HUGE_RATIO = 1000.0
# Below these, chance alone may look like it.
_LEAST_BLOCK = 3  # columns that share a one
_LEAST_COUNT = 3  # the largest value
_LEAST_IDS = 20  # rows
_LEAST_SENTINELS = 3  # rows that have the value
_FAR = 2.0  # times the range of all other values


def check_rows(raw: RawData) -> None:
    """Refuse rows that cannot be trained on.

    Raises:
        DataProblem: the first of: wrong shape, no rows, one row, no numbers, NaN or infinity (with the place of the
            first and their count), values beyond float32, labels that are not one value for each row, no variation.
    """
    _check_shape(raw)
    _check_numbers(raw)
    if raw.labels is not None:
        _check_labels(raw.name, raw.labels, len(raw.rows))
    check_varies(raw.name, "all", raw.rows)


def _check_labels(name: str, labels: np.ndarray, rows: int) -> None:
    if len(labels) != rows:
        raise DataProblem(f"{name}: {rows:,} rows have {len(labels):,} labels; each row needs one")
    if labels.ndim != 1:
        raise DataProblem(f"{name}: the labels have shape {list(labels.shape)}; give one value for each row")
    missing = np.zeros(rows, bool)
    if labels.dtype.kind == "f":
        missing = ~np.isfinite(labels)
    elif labels.dtype.kind == "O":
        missing = np.array([label is None or label != label for label in labels])
    if missing.any():
        first = int(np.argmax(missing))
        raise DataProblem(f"{name}: {int(missing.sum()):,} rows have no label, the first at row {first}; fill them in")
    try:
        np.unique(labels)
    except TypeError as error:
        raise DataProblem(f"{name}: the labels mix numbers and text; make all of them one or the other") from error


def check_varies(name: str, which: str, rows: np.ndarray) -> None:
    """Refuse rows whose every column is constant.

    Raises:
        DataProblem: saying which rows were looked at.
    """
    if np.all(rows == rows[0]):
        raise DataProblem(
            f"{name}: {which} {len(rows):,} rows are the same; there is nothing to learn from constant data"
        )


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


def _check_numbers(raw: RawData) -> None:
    if raw.rows.dtype.kind != "f":
        return
    _refuse_where(raw, np.isnan(raw.rows), "NaN (no number)", "fill them in or remove those rows or columns")
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


def warnings_of(raw: RawData, train: np.ndarray, scaling: Scaling) -> tuple[str, ...]:
    """Warnings of what is not wrong but may surprise, such as constant columns, a huge range left unscaled, or codes.

    Args:
        raw: the rows as read.
        train: the training rows, raw.
        scaling: as fitted on them.
    """
    found = [*raw.notes, _constant_columns(raw, train), _huge_range(train, scaling), _duplicates(raw), _one_hot(train)]
    if train.ndim == 2:  # columns that mean something by themselves, as pixels do not
        found += [_few_rows(train), _counts(train, scaling), _ids(raw), _sentinels(raw, train)]
    return tuple(warning for warning in found if warning)


def _constant_columns(raw: RawData, train: np.ndarray) -> str:
    # Images have constant corners as a matter of course.
    constant = np.flatnonzero(np.all(train == train[0], axis=0)) if train.ndim == 2 else np.empty(0, int)
    if not constant.size:
        return ""
    named = _named(raw, constant)
    return f"constant in the training split, so they carry nothing and keep scale 1: columns {named}"


def _named(raw: RawData, columns: np.ndarray) -> str:
    """The first few of these columns, by name where they have one."""
    named = ", ".join(f"'{raw.columns[column]}'" if raw.columns else str(column) for column in columns[:5])
    return named + (f" and {columns.size - 5} more" if columns.size > 5 else "")


def _few_rows(train: np.ndarray) -> str:
    rows, columns = train.shape
    if rows >= columns:
        return ""
    return (
        f"{rows:,} training rows are fewer than the {columns:,} columns: a model overfits; keep it small, use dropout"
    )


def _one_hot(train: np.ndarray) -> str:
    """Zeros and ones of which every block of as many columns holds one at most, and most blocks one."""
    if not np.isin(train, (0, 1)).all():
        return ""
    flat = train.reshape(len(train), -1)
    columns = flat.shape[1]
    widths = [train.shape[-1]] if train.ndim > 2 else [w for w in range(_LEAST_BLOCK, columns) if columns % w == 0]
    for width in widths:
        ones = flat.reshape(len(train), -1, width).sum(axis=2, dtype=np.float64)
        if width >= _LEAST_BLOCK and ones.max() == 1 and ones.mean() > 1 / 2:
            padding = "" if ones.min() == 1 else ", some none (padding)"
            return (
                f"each block of {width} columns holds one 1{padding}, as one-hot categories do; a categorical "
                f"likelihood is not available yet, and this one takes the columns for independent"
            )
    return ""


def _counts(train: np.ndarray, scaling: Scaling) -> str:
    if scaling.kind != "none" or train.min() < 0 or train.max() < _LEAST_COUNT or (train != np.rint(train)).any():
        return ""
    return (
        "all values are whole numbers from 0 up, as counts are, and are not scaled; a likelihood of counts is not "
        'available yet, so set data.scaling = "standard"'
    )


def _ids(raw: RawData) -> str:
    """Columns that number the rows: consecutive whole numbers over all rows, rising from one row to the next."""
    if len(raw.rows) < _LEAST_IDS:
        return ""
    numbered = np.flatnonzero((np.diff(raw.rows.astype(np.float64), axis=0) == 1).all(axis=0))
    if not numbered.size:
        return ""
    return f"columns that number the rows and say nothing of them; take them out: {_named(raw, numbered)}"


def _sentinels(raw: RawData, train: np.ndarray) -> str:
    """Columns whose least or largest value is repeated, a whole number, and far outside all others."""
    found = [column for column in range(train.shape[1]) if _stands_apart(train[:, column].astype(np.float64))]
    if not found:
        return ""
    named = _named(raw, np.array(found))
    return (
        f"one value, repeated and far outside all others, may stand for a missing one (as -999 does): columns {named}"
    )


def _stands_apart(values: np.ndarray) -> bool:
    for extreme in (values.min(), values.max()):
        others = values[values != extreme]
        if len(others) < len(values) / 2 or len(values) - len(others) < _LEAST_SENTINELS or extreme != np.rint(extreme):
            continue
        spread = others.max() - others.min()
        distance = np.abs(others - extreme).min()
        if len(np.unique(others)) > _LEAST_SENTINELS and distance > _FAR * spread:
            return True
    return False


def _huge_range(train: np.ndarray, scaling: Scaling) -> str:
    if scaling.kind != "none":
        return ""
    largest = max(abs(float(train.min())), abs(float(train.max())))
    spread = train.std(axis=0, dtype=np.float64)
    spread = spread[spread > 0]
    ratio = float(spread.max() / spread.min()) if train.ndim == 2 and spread.size else 1.0
    if largest <= _HUGE and ratio <= _HUGE_RATIO:
        return ""
    what = f"reach {largest:.3g}" if largest > _HUGE else f"vary {ratio:.3g} times as much in one column as in another"
    return f'values {what} and are not scaled, a common cause of exploding KL; data.scaling = "standard" scales them'


def _duplicates(raw: RawData) -> str:
    """Rows that repeat another: where one trains and its copy tests, the test is too easy."""
    distinct = len({hash(row.tobytes()) for row in raw.rows})
    copies = len(raw.rows) - distinct
    if not copies:
        return ""
    return f"{copies:,} of {len(raw.rows):,} rows repeat an earlier one; copies may lie in different splits"
