"""Rows to compute with: an array, or rows that stay as small as their source has them and are scaled when read."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

# Values taken at a time: the float64 copies that full precision takes of them fit into a processor's cache.
_VALUES = 2**20
# From there TensorFlow computes with memory that is not its own (EIGEN_MAX_ALIGN_BYTES).
ALIGNMENT = 64


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class KeptRows:
    """Rows of a split that are kept as whole numbers of one or two bytes, and become float32 where they are read.

    Attributes:
        source: the rows of all splits [N, *shape], which may be mapped from a file.
        numbers: of those of this split, [n].
        offset: what is subtracted of them, float64, of a row's shape or of shape [].
        scale: what they are then divided by; the same.
    """

    source: np.ndarray
    numbers: np.ndarray
    offset: np.ndarray
    scale: np.ndarray

    @property
    def dtype(self) -> np.dtype:
        """Of the rows as they are read."""
        return np.dtype(np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        """[n, *shape]."""
        return len(self.numbers), *self.source.shape[1:]

    def __len__(self) -> int:
        """n."""
        return len(self.numbers)

    def __getitem__(self, chosen: slice | np.ndarray) -> np.ndarray:
        """Some of the rows, scaled: float32."""
        return scale_values(self.source[self.numbers[chosen]], self.offset, self.scale, self.precision)

    @property
    def precision(self) -> type[np.floating]:
        """The type to scale in: float32 where that gives the bits that float64 gives.

        It does where offset and scale are whole: then the difference is exact, and a quotient that is rounded to 53
        bits and then to 24 is the one that is rounded to 24 at once, for 53 ≥ 2 · 24 + 2 (Figueroa 1995).
        """
        whole = (np.all((values == np.rint(values)) & (np.abs(values) < 2**16)) for values in (self.offset, self.scale))
        return np.float32 if all(whole) else np.float64

    def choose(self, chosen: np.ndarray) -> "KeptRows":
        """Some of the rows, still to be scaled."""
        return KeptRows(source=self.source, numbers=self.numbers[chosen], offset=self.offset, scale=self.scale)

    def column(self, column: int) -> np.ndarray:
        """A column of a table, scaled: float32 [n]."""
        offset, scale = (np.broadcast_to(values, self.shape[1:])[column] for values in (self.offset, self.scale))
        return scale_values(self.source[self.numbers, column], offset, scale, self.precision)


Rows = np.ndarray | KeptRows
"""Rows [n, *shape] that give an array for a slice or for row numbers."""


def unscaled(source: np.ndarray, numbers: np.ndarray) -> KeptRows:
    """Rows of these numbers as their source has them."""
    return KeptRows(source=source, numbers=numbers, offset=np.zeros([]), scale=np.ones([]))


def can_be_kept(rows: np.ndarray) -> bool:
    """Tell whether rows take less memory as they are than as float32, and can be computed with as they lie there."""
    return is_small(rows.dtype) and rows.flags.c_contiguous


def is_small(dtype: np.dtype) -> bool:
    """Tell whether a type is that of whole numbers of one or two bytes."""
    return dtype.kind in "iu" and dtype.itemsize <= 2 and dtype.isnative


def aligned(rows: np.ndarray) -> np.ndarray:
    """The rows, copied if they do not begin where TensorFlow can compute with them in place."""
    if rows.ctypes.data % ALIGNMENT == 0 and rows.flags.writeable:
        return np.asarray(rows)
    copied = empty_rows(rows.shape, rows.dtype)
    copied[:] = rows
    return copied


def empty_rows(shape: tuple[int, ...], dtype: np.dtype) -> np.ndarray:
    """An array for rows, which will be aligned."""
    size = math.prod(shape) * dtype.itemsize
    memory = np.empty(size + ALIGNMENT, np.uint8)
    first = -memory.ctypes.data % ALIGNMENT
    return memory[first : first + size].view(dtype).reshape(shape)


def scale_values(
    values: np.ndarray, offset: np.ndarray, scale: np.ndarray, precision: type[np.floating] = np.float64
) -> np.ndarray:
    """(values − offset) ÷ scale of rows, worked out in a precision: float32."""
    scaled = np.empty(values.shape, np.float32)
    offset, scale = offset.astype(precision), scale.astype(precision)
    for some in slices(values.shape):
        wide = values[some].astype(precision)
        wide -= offset
        wide /= scale
        scaled[some] = wide
    return scaled


def slices(shape: tuple[int, ...]) -> Iterator[slice]:
    """Slices of rows, one after the other, that hold about a million values each."""
    size = max(1, _VALUES // max(1, math.prod(shape[1:])))
    return (slice(first, first + size) for first in range(0, shape[0], size))


def in_parts(rows: Rows) -> Iterator[np.ndarray]:
    """Some of the rows after the other, scaled; an array in one, for it is there already."""
    if isinstance(rows, np.ndarray):
        yield rows
        return
    for some in slices(rows.shape):
        yield rows[some]


def extremes(rows: Rows, axis: int | None = None) -> tuple[np.ndarray, np.ndarray]:
    """The least and the largest value that is not missing, of all or (axis 0) of every column."""
    if isinstance(rows, np.ndarray):
        return np.asarray(np.fmin.reduce(rows, axis=axis)), np.asarray(np.fmax.reduce(rows, axis=axis))
    lows, highs = [], []
    for some in slices(rows.shape):
        part = rows.source[rows.numbers[some]]
        lows.append(part.min(axis=0))
        highs.append(part.max(axis=0))
    # Scaling keeps the order of values, rounding included.
    low, high = np.min(lows, axis=0), np.max(highs, axis=0)
    low, high = (scale_values(bound[np.newaxis], rows.offset, rows.scale)[0] for bound in (low, high))
    return (low, high) if axis == 0 else (np.asarray(low.min()), np.asarray(high.max()))


def column_means(rows: Rows) -> np.ndarray:
    """Means over rows, float64 [*shape]; of kept rows the same bits as of the array that they stand for."""
    if isinstance(rows, np.ndarray) or _is_one_column(rows):
        return np.asarray(np.mean(rows[:], axis=0, dtype=np.float64))
    return _column_sums(rows, lambda part: part) / len(rows)


def moments(rows: Rows, axis: int | None = 0) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation along the rows (axis 0), or of all values (None): float64.

    Of kept rows the same bits as of the array that they stand for; of all values where they are not scaled.
    """
    if isinstance(rows, np.ndarray) or (axis == 0 and _is_one_column(rows)):
        whole = rows[:]
        mean, deviation = np.mean(whole, axis=axis, dtype=np.float64), np.std(whole, axis=axis, dtype=np.float64)
        return np.asarray(mean), np.asarray(deviation)
    if axis == 0:
        mean = column_means(rows)
        squares = _column_sums(rows, lambda part: np.square(part - mean))
        return mean, np.sqrt(squares / len(rows))
    count = math.prod(rows.shape)
    mean = np.asarray(sum(np.sum(part, dtype=np.float64) for part in in_parts(rows)) / count)
    return mean, np.asarray(np.sqrt(_squares_between(rows, mean, 0, count) / count))


def _is_one_column(rows: Rows) -> bool:
    return math.prod(rows.shape[1:]) == 1


def _column_sums(rows: KeptRows, of: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Sums over rows of what is made of them in float64. NumPy adds one row after the other, unless of one column."""
    total = np.zeros([0, *rows.shape[1:]])
    for part in in_parts(rows):
        total = np.sum(np.concatenate([total, of(part.astype(np.float64))]), axis=0, keepdims=True)
    return np.asarray(total[0])


def _squares_between(rows: KeptRows, mean: np.ndarray, first: int, last: int) -> np.float64:
    """Sum of the squared deviations of some values of all, which NumPy halves until they are few."""
    count = last - first
    if count > _VALUES:
        half = count // 2 - count // 2 % 8
        return _squares_between(rows, mean, first, first + half) + _squares_between(rows, mean, first + half, last)
    width = math.prod(rows.shape[1:])
    start = first // width
    flat = rows[start : -(-last // width)].reshape(-1)[first - start * width : last - start * width]
    return np.float64(np.sum(np.square(flat.astype(np.float64) - mean)))


def are_whole(rows: Rows) -> bool:
    """Tell whether every value of rows that is not missing is a whole number."""
    if isinstance(rows, KeptRows) or rows.dtype.kind != "f":
        return True
    return all(bool(np.all(np.isnan(rows[some]) | (rows[some] == np.rint(rows[some])))) for some in slices(rows.shape))
