"""What is not wrong with data but may surprise, in a line each for their user."""

import math
from collections.abc import Mapping

import numpy as np

from klsearch.vae.data.gaps import known_moments
from klsearch.vae.data.proposals import channel_variances, have_channels_first, look_like_series
from klsearch.vae.data.readers.raw import RawData, owners_of
from klsearch.vae.data.rows import KeptRows, Rows, are_whole, extremes
from klsearch.vae.data.scaling import Scaling
from klsearch.vae.data.tokens import PADDING, full_blocks, one_hot_width

# Beyond this, unscaled values are known to make KL explode; standardised ones seldom pass 10.
_HUGE = 100.0
_HUGE_RATIO = 1000.0
UNSCALED = "unscaled"
"""The code of the caution of unscaled values: whoever looks for the cause of a large KL looks for it."""
CHANNELS = "uneven-channels"
"""The code of the caution of a channel beside which the others hardly count."""
CHANNELS_FIRST = "channels-first"
"""The code of the caution of series or images whose channels stand where a network looks for their steps or pixels."""
NAMING = ("constant-columns", "one-hot", "row-numbers", "missing-values")
"""The codes of cautions that name columns of the data."""
# Below these, chance alone may look like it.
_LEAST_BLOCK = 3  # columns that share a one
_LEAST_COUNT = 3  # the largest value
_LEAST_IDS = 20  # rows
_LEAST_MISSING = 3  # rows that have the value, and different values of the others
_FAR = 2.0  # times the range of all other values
_MOSTLY = 0.5  # of the rows
_MOST_OF_CHANNELS = 0.99  # of the variance, in one channel
_MOST_CLASSES = 100  # of labels; more are no classes to the probe
_DENSE = 2  # times as many whole numbers as rows that row numbers may be spread over


class Caution(str):
    """A line of warning.

    Attributes:
        code: names its kind, and stays the same when the words change.
    """

    code: str

    def __new__(cls, text: str, code: str = "") -> "Caution":
        """A line with its code."""
        made = super().__new__(cls, text)
        made.code = code
        return made


def cautions_of(raw: RawData, train: Rows, scaling: Scaling) -> tuple[Caution, ...]:
    """Cautions about rows, such as constant columns, a huge range left unscaled, or codes for missing values.

    Args:
        raw: the rows as read.
        train: the training rows, raw.
        scaling: as fitted on them.
    """
    if scaling.alphabet is not None:
        found = {"repeated-rows": _duplicates(raw), "padding": _padding(train[:], scaling)}
        return tuple(Caution(text, code) for code, text in found.items() if text)
    found = {
        "constant-columns": _constant_columns(raw, train),
        UNSCALED: _huge_range(train, scaling),
        "repeated-rows": _duplicates(raw),
        "categories": "" if scaling.kind == "columns" else _categories(raw),
        "one-hot": _one_hot(raw, train),
    }
    if _is_table(train):  # columns that mean something by themselves, as pixels do not
        found |= {
            "few-rows": _few_rows(train),
            "counts": "" if found[UNSCALED] else _counts(train, scaling),
            "row-numbers": _row_numbers(raw),
            "missing-values": _missing_values(raw, train),
        }
    else:
        found |= {CHANNELS: _uneven_channels(train)}
    return tuple(Caution(text, code) for code, text in found.items() if text)


def caution_of_labels(labels: Mapping[str, np.ndarray] | None) -> tuple[Caution, ...]:
    """A caution of labels, by split, of which the test rows have none that a training row has."""
    if labels is None or not len(labels["test"]):
        return ()
    known = np.unique(labels["train"])
    is_class = known.dtype.kind not in "f" or bool(np.all(known == np.rint(known)))
    if not is_class or not 2 <= len(known) <= _MOST_CLASSES or np.isin(labels["test"], known).any():
        return ()
    text = (
        "no test row has a label that a training row has, as where labels name what data.group keeps together: the "
        "probe's accuracy is 0, whatever the latents tell; name other labels in data.labels, or none"
    )
    return (Caution(text, "labels-apart"),)


def _is_table(train: Rows) -> bool:
    return len(train.shape) == 2


def _constant_columns(raw: RawData, train: Rows) -> str:
    if not _is_table(train):  # images have constant corners as a matter of course
        return ""
    low, high = extremes(train, axis=0)
    constant = np.flatnonzero(low == high)
    if not constant.size:
        return ""
    named = _named(raw, constant)
    return f"constant in the training split, so they carry nothing and keep scale 1: columns {named}"


def _named(raw: RawData, columns: np.ndarray) -> str:
    """The first few of these columns, by name where they have one."""
    named = ", ".join(f"'{raw.columns[column]}'" if raw.columns else str(column) for column in columns[:5])
    return named + (f" and {columns.size - 5} more" if columns.size > 5 else "")


def _few_rows(train: Rows) -> str:
    rows, columns = train.shape
    if rows >= columns:
        return ""
    return (
        f"{rows:,} training rows are fewer than the {columns:,} columns: a model overfits; keep it small, use dropout"
    )


def _categories(raw: RawData) -> str:
    names = [column.name for column in raw.table or () if column.kind == "category"]
    if not names:
        return ""
    more = "" if len(names) == 1 else f", as are {len(names) - 1} more"
    return (
        f"column '{names[0]}' is a category{more}; model.likelihood = 'mixed' scores it as one, others take its 0 and "
        "1 for independent numbers"
    )


def _one_hot(raw: RawData, rows: Rows) -> str:
    low, high = extremes(rows)
    if not _is_table(rows) and (low < 0 or high > 1):
        return ""
    train = rows.source[rows.numbers] if isinstance(rows, KeptRows) else rows
    flat = train.reshape(len(train), -1)
    if raw.table is not None:
        return _one_hot_numbers(raw, flat)
    if (blocks := list(full_blocks(flat))) and _is_table(train):
        first = _named(raw, np.array(blocks[0]))
        more = f" and {len(blocks) - 1} more such blocks" if len(blocks) > 1 else ""
        what = f"columns {first}{more} hold one 1 in every row"
    elif width := one_hot_width(train):
        what = f"each block of {width} columns holds one 1{'' if blocks else ', some none (padding)'}"
    else:
        return ""
    return (
        f"{what}, as one-hot categories do; model.likelihood = 'categorical' is made for them where all rows are such "
        "blocks of one width, empty ones being padding; others take the columns for independent"
    )


def _one_hot_numbers(raw: RawData, train: np.ndarray) -> str:
    """Columns of a table that are one category, beside those that its words became."""
    numbers = np.flatnonzero([column.kind != "category" for column in owners_of(raw.table)])
    block = next(full_blocks(train[:, numbers]), None)
    if block is None:
        return ""
    return (
        f"columns {_named(raw, numbers[list(block)])} hold one 1 in every row, as one-hot categories do; make one "
        "column of words of them, which model.likelihood = 'mixed' scores as a category"
    )


def _padding(train: np.ndarray, scaling: Scaling) -> str:
    """Token sequences that end in the same token again and again, as padded ones do."""
    if scaling.alphabet is None or scaling.alphabet.is_one_hot:
        return ""
    last = train[:, -1]
    ends = last == last[0]
    tail = np.all(train[:, -2:] == last[0], axis=1)
    if last[0] == PADDING or ends.mean() < _MOSTLY or tail.mean() < _MOSTLY:
        return ""
    return (
        f"most rows end in token {last[0]:g}, again and again, as padding does; write {PADDING} for a place without a "
        "token, which is then left out of what is learned"
    )


def _counts(train: Rows, scaling: Scaling) -> str:
    low, high = extremes(train)
    if scaling.kind != "none" or low < 0 or high < _LEAST_COUNT or not are_whole(train):
        return ""
    return (
        "all values are whole numbers from 0 up, as counts are, and are not scaled; model.likelihood = "
        "'negative_binomial' or 'poisson' is made for them"
    )


def _row_numbers(raw: RawData) -> str:
    """Columns of whole numbers, another in every row, that lie as close as row numbers do, in whatever order."""
    rows = len(raw.rows)
    spread = raw.rows.max(axis=0).astype(np.float64) - raw.rows.min(axis=0)
    close = np.flatnonzero((spread >= rows - 1) & (spread < _DENSE * rows))
    found = [column for column in close if _all_differ(raw.rows[:, column].astype(np.float64))]
    if rows < _LEAST_IDS or not found:
        return ""
    return (
        "whole numbers, another in every row, as row numbers are, which say nothing of a row; take them out: columns "
        f"{_named(raw, np.array(found))}"
    )


def _all_differ(values: np.ndarray) -> bool:
    return bool((values == np.rint(values)).all()) and len(np.unique(values)) == len(values)


def _missing_values(raw: RawData, train: Rows) -> str:
    columns = (train.column(at) if isinstance(train, KeptRows) else train[:, at] for at in range(train.shape[1]))
    found = [at for at, column in enumerate(columns) if _stands_apart(column.astype(np.float64))]
    if not found:
        return ""
    return (
        "one value, repeated and apart from all others, may stand for a missing one (as -999 does): columns "
        f"{_named(raw, np.array(found))}"
    )


def _stands_apart(column: np.ndarray) -> bool:
    """Whether the least or the largest value is a repeated whole number, far from all others or alone below 0.

    Zero in most rows is a lack of something, which is no lack of knowledge.
    """
    values, counts = np.unique(column[~np.isnan(column)], return_counts=True)
    for extreme, count, others in ((values[0], counts[0], values[1:]), (values[-1], counts[-1], values[:-1])):
        is_most = extreme == 0 and count > len(column) / 2
        if min(count, len(others)) < _LEAST_MISSING or extreme != np.rint(extreme) or is_most:
            continue
        distance, spread = np.abs(others - extreme).min(), others[-1] - others[0]
        if distance > _FAR * spread or (extreme < 0 <= others[0] and count == counts.max()):
            return True
    return False


def _huge_range(train: Rows, scaling: Scaling) -> str:
    if scaling.kind != "none":
        return ""
    largest = max(abs(float(bound)) for bound in extremes(train))
    spread = known_moments(train)[1] if _is_table(train) else np.empty(0)
    spread = spread[spread > 0]
    ratio = float(spread.max() / spread.min()) if spread.size else 1.0
    if largest <= _HUGE and ratio <= _HUGE_RATIO:
        return ""
    what = f"reach {largest:.3g}" if largest > _HUGE else f"vary {ratio:.3g} times as much in one column as in another"
    return f'values {what} and are not scaled, a common cause of exploding KL; data.scaling = "standard" scales them'


def _uneven_channels(train: Rows) -> str:
    """Channels, of series or of images, one of which varies so much that it makes up what is learned of all."""
    if len(train.shape) < 4 and not look_like_series(train):
        return ""
    variances = channel_variances(train)
    if len(variances) < 2 or not variances.min() > 0 or variances.max() <= _MOST_OF_CHANNELS * variances.sum():
        return ""
    # Cut off, for rounded it may be all of it.
    share = math.floor(1000 * variances.max() / variances.sum()) / 10
    return (
        f"channel {int(variances.argmax())} (counted from 0) of {len(variances)} holds {share:g} % of the variance, so "
        "that the others hardly count, for all are scaled alike; scale each channel before"
    )


def channels_first(rows: Rows, kind: str) -> str:
    """What a kind of network mistakes in rows [n, *shape] whose channels come first, and the way out; else empty.

    Args:
        rows: those that train.
        kind: one that takes channels last, for series or for images as the rows are.
    """
    if not have_channels_first(rows):
        return ""
    channels, *rest = rows.shape[1:]
    count = "1 channel" if channels == 1 else f"{channels} channels"
    what, order, way_out = (
        (f"{rest[0]} steps", "steps first", "np.swapaxes(rows, 1, 2)")
        if len(rest) == 1
        else (f"{rest[0]} x {rest[1]} pixels", "channels last", "np.moveaxis(rows, 1, -1)")
    )
    return (
        f"rows of {' x '.join(map(str, rows.shape[1:]))} look like {count} of {what}, but {kind!r} takes {order}: "
        f"write them as {way_out}"
    )


def _duplicates(raw: RawData) -> str:
    """Rows that repeat another: where one trains and its copy tests, the test is too easy."""
    distinct = len({hash(row.tobytes()) for row in raw.rows})
    copies = len(raw.rows) - distinct
    if not copies:
        return ""
    return f"{copies:,} of {len(raw.rows):,} rows repeat an earlier one; copies may lie in different splits"
