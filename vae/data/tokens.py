"""Sequences of tokens: whole numbers, or one-hot, which models are given."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from klsearch.vae.data.readers.raw import DataProblem, RawData, refuse_beyond_memory
from klsearch.vae.data.rows import slices

PADDING = -1
"""The whole number that stands for no token."""
_LEAST_BLOCK = 3  # columns that share a one; below it, chance alone may look like it
_MOST_ONES = 1 / 3  # of what is known in one-hot rows of so many columns a block
_MOST_CLASSES = 100_000
_NAMED = 5
_MIXED = "tokens share one alphabet"


@dataclass(frozen=True, slots=True)
class Alphabet:
    """The tokens of a sequence.

    Attributes:
        classes: how many there are.
        is_one_hot: whether rows hold a 1 in the place of their token, and not the token itself.
    """

    classes: int
    is_one_hot: bool

    def encode(self, rows: np.ndarray) -> np.ndarray:
        """Rows of tokens as float32 [n, length, classes]: 1 for the token of a place, 0 in all where it has none."""
        if self.is_one_hot:
            return np.asarray(_without_gaps(rows).reshape(len(rows), -1, self.classes), np.float32)
        return np.asarray(rows[:, :, np.newaxis] == np.arange(self.classes), np.float32)


def find_alphabet(raw: RawData) -> Alphabet:
    """The tokens of all rows: which there are is no part of what is learned.

    Whole numbers from 0 on are tokens, of which there is one more than the largest says; −1 and missing values stand
    for none. Zeros and ones are one-hot tokens where rows are [length, classes], or blocks of columns with one 1 each
    or, where they are padding, none.

    Raises:
        DataProblem: the rows hold something else, or no token, with the place of the first; or would not fit into
            memory as one-hot; or may be one-hot, but nothing tells how wide; or are categories of different sizes.
    """
    _refuse_mixed_table(raw)
    alphabet = _find(raw)
    _refuse_empty(raw, alphabet)
    return alphabet


def _find(raw: RawData) -> Alphabet:
    rows = raw.rows
    if rows.ndim == 3:
        return Alphabet(_count_one_hot(raw), is_one_hot=True)
    if rows.ndim != 2:
        raise DataProblem(
            f"{raw.name}: rows of shape {list(rows.shape[1:])} are no tokens; give [rows, length] or one-hot [rows, "
            "length, classes]"
        )
    if width := one_hot_width(rows, are_tokens=True):
        return Alphabet(width, is_one_hot=True)
    if sizes := _sizes_of_categories(_without_incomplete(rows)):
        raise DataProblem(
            f"{raw.name}: {_MIXED}, but its columns of zeros and ones are categories of "
            f"{', '.join(map(str, sizes[:_NAMED]))}{' …' if len(sizes) > _NAMED else ''} kinds; give each as one "
            "column of words in a .csv, and use model.likelihood = 'mixed'"
        )
    if _are_mostly_zeros(rows):
        raise DataProblem(
            f"{raw.name}: zeros and ones, most of them zeros, may be one-hot tokens or tokens of two kinds; give them "
            "as one-hot [rows, length, classes]"
        )
    wrong = ~np.isnan(rows) & (rows != np.rint(rows)) if rows.dtype.kind == "f" else np.zeros(rows.shape, bool)
    _refuse_where(raw, wrong, "is no whole number, as tokens are")
    _refuse_where(raw, rows < PADDING, f"is out of range: tokens count from 0 on, and {PADDING} stands for none")
    _refuse_where(raw, rows >= _MOST_CLASSES, f"is out of range: tokens must lie below {_MOST_CLASSES:,}")
    classes = max(2, int(np.nanmax(rows)) + 1)
    refuse_beyond_memory(f"{raw.name} (one-hot of {classes:,} tokens)", rows.size * classes, None)
    return Alphabet(classes, is_one_hot=False)


def _refuse_empty(raw: RawData, alphabet: Alphabet) -> None:
    """Refuse rows that are padding in every place, of which there is nothing to learn or to measure."""
    flat = raw.rows.reshape(len(raw.rows), -1)
    parts = (flat[some] for some in slices(flat.shape))
    empty = ~np.concatenate([(part > 0 if alphabet.is_one_hot else part > PADDING).any(axis=1) for part in parts])
    if empty.any():
        count = "1 row has" if empty.sum() == 1 else f"{int(empty.sum()):,} rows have"
        first = raw.place(int(np.argmax(empty)))
        raise DataProblem(f"{raw.name}: {count} no token at all, the first is {first}; remove such rows")


def _refuse_mixed_table(raw: RawData) -> None:
    """Refuse a table with a column of words if another has more or fewer words, or none."""
    sizes = {column.name: len(column.categories) for column in raw.table or ()}
    first = next((name for name, size in sizes.items() if size), None)
    other = next((name for name, size in sizes.items() if first is not None and size != sizes[first]), None)
    if first is None or other is None:
        return
    count = f"'{first}' has {sizes[first]} word{'s' * (sizes[first] > 1)}"
    raise DataProblem(
        f"{raw.name}: {_MIXED}, but {count} and '{other}' {sizes[other] or 'none'}; model.likelihood = 'mixed' is made "
        "for such tables"
    )


def _count_one_hot(raw: RawData) -> int:
    rows = raw.rows
    known = _without_gaps(rows)
    _refuse_where(raw, (known != 0) & (known != 1), "is neither 0 nor 1, as one-hot tokens are")
    ones = known.sum(axis=2, dtype=np.int64)
    if ones.max() > 1:
        row, place = (int(index) for index in np.argwhere(ones > 1)[0])
        raise DataProblem(
            f"{raw.name}: place {place} of {raw.place(row)} holds {ones[row, place]} tokens; give one or none"
        )
    return int(rows.shape[2])


def _refuse_where(raw: RawData, wrong: np.ndarray, why: str) -> None:
    if wrong.any():
        row, *place = (int(index) for index in np.unravel_index(int(np.argmax(wrong)), wrong.shape))
        raise DataProblem(f"{raw.name}: {raw.rows[(row, *place)]:g} at {raw.place(row, *place)} {why}")


def one_hot_width(rows: np.ndarray, *, are_tokens: bool = False) -> int:
    """The width of blocks of zeros and ones of which every one holds one 1 at most, and most hold one; 0 for none.

    Categories of different sizes have none: the places of the larger ones would count as padding.

    Args:
        rows: [n, columns], or [n, length, classes], whose blocks are known; what is missing counts as 0.
        are_tokens: whether their user says so. Then blocks may have 2 columns, and wider ones may be padding for the
            most part, as long as one row fills them all, which tells their width.
    """
    flat = _without_gaps(rows.reshape(len(rows), -1))
    if not all(_are_zeros_and_ones(flat[some]).all() for some in slices(flat.shape)):
        return 0
    if rows.ndim == 2 and _sizes_of_categories(_without_incomplete(rows)):
        return 0
    columns, least = flat.shape[1], 2 if are_tokens else _LEAST_BLOCK
    widths = [rows.shape[-1]] if rows.ndim > 2 else [w for w in range(least, columns) if columns % w == 0]
    for width in widths:
        takes_padding = are_tokens and width >= _LEAST_BLOCK
        if width >= least and _are_blocks(flat, width, takes_padding=takes_padding):
            return width
    return 0


def _are_blocks(flat: np.ndarray, width: int, *, takes_padding: bool) -> bool:
    """Tell whether every block of so many columns holds one 1 at most, and most of them, or all of a row, hold one."""
    total, is_filled = 0, False
    for some in slices(flat.shape):
        ones = flat[some].reshape(-1, flat.shape[1] // width, width).sum(axis=2, dtype=np.float64)
        if ones.max() > 1:
            return False
        total += int(ones.sum())
        is_filled = is_filled or bool(ones.all(axis=1).any())
    return total > 0 and ((takes_padding and is_filled) or total > flat.size / width / 2)


def _are_zeros_and_ones(values: np.ndarray) -> np.ndarray:
    """Of each value; NumPy's `isin` would take eight bytes and more for every one of them."""
    return np.asarray((values == 0) | (values == 1))


def _without_gaps(rows: np.ndarray) -> np.ndarray:
    """Rows with 0 for what is missing."""
    return np.asarray(np.nan_to_num(rows, nan=0.0)) if rows.dtype.kind == "f" else rows


def _are_mostly_zeros(rows: np.ndarray) -> bool:
    """Whether all that is known is 0 or 1, and as few are 1 as in one-hot rows."""
    known = rows[~np.isnan(rows)] if rows.dtype.kind == "f" else rows
    return bool(_are_zeros_and_ones(known).all()) and float(known.mean(dtype=np.float64)) <= _MOST_ONES


def _without_incomplete(rows: np.ndarray) -> np.ndarray:
    """The rows [n, columns] without a gap: a missing category has no 1."""
    return rows[~np.isnan(rows).any(axis=1)] if rows.dtype.kind == "f" else rows


def _sizes_of_categories(flat: np.ndarray) -> list[int]:
    """The columns of each block, if blocks of different sizes with one 1 in every row are all that there is.

    Not so where blocks of one size hold one 1 each, for these are tokens.
    """
    count, columns = len(flat), flat.shape[1]
    ones = np.concatenate([np.zeros(0), *(flat[some].sum(axis=1, dtype=np.float64) for some in slices(flat.shape))])
    if not count or ones.min() != ones.max() or ones[0] < 2:
        return []
    places = int(ones[0])
    if columns % places == 0 and _are_blocks(flat, columns // places, takes_padding=False):
        return []
    sizes = [len(block) for block in full_blocks(flat, least=2)]
    return sizes if sum(sizes) == columns else []


def full_blocks(flat: np.ndarray, *, least: int = _LEAST_BLOCK) -> Iterator[range]:
    """Neighbouring columns of zeros and ones, [n, columns], of which exactly one is 1 in every row.

    Args:
        flat: the rows.
        least: columns of a block.
    """
    binary = np.all([_are_zeros_and_ones(flat[some]).all(axis=0) for some in slices(flat.shape)], axis=0)
    start = 0
    while start < flat.shape[1]:
        ones, end = np.zeros(len(flat)), start
        while end < flat.shape[1] and binary[end] and ones.max() <= 1 and ones.min() == 0:
            ones += flat[:, end]
            end += 1
        if ones.min() == ones.max() == 1 and end - start >= least:
            yield range(start, end)
            start = end
        else:
            start += 1
