"""The scaling of raw values to what a model trains on, fitted on the training split alone."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from klsearch.vae.data.gaps import known_moments
from klsearch.vae.data.proposals import look_like_series
from klsearch.vae.data.readers.raw import Column, owners_of
from klsearch.vae.data.rows import KeptRows, Rows, are_whole, can_be_kept, extremes, scale_values, slices
from klsearch.vae.data.tokens import Alphabet


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scaling:
    """An affine map, scaled = (raw − offset) ÷ scale, by column or for all values alike.

    Attributes:
        kind: "none", "counts" (none, for they are whole numbers), "tokens" (one-hot), "minmax" (training values to
            [0, 1]), "standard" (mean 0, standard deviation 1), "columns" (numbers standard, all else as it is) or
            "image" (0–255 to [0, 1]).
        offset: float64, of a row's shape or of shape [] for all values alike.
        scale: the same; never 0.
        alphabet: of tokens, which become one-hot; None of numbers.
    """

    kind: str
    offset: np.ndarray
    scale: np.ndarray
    alphabet: Alphabet | None = None

    @property
    def words(self) -> str:
        """The scaling as a sentence part, such as "minmax by column, over the training split"."""
        if self.kind in ("none", "counts"):
            return "none"
        if self.alphabet is not None:
            return f"one-hot of {self.alphabet.classes} tokens"
        if self.kind == "columns":
            return "standard by column of numbers, over the training split; none for other columns"
        if self.kind == "image":
            return "0–255 to 0–1"
        return f"{self.kind}{' by column' if self.offset.ndim else ''}, over the training split"

    def of_split(self, rows: np.ndarray, numbers: np.ndarray) -> Rows:
        """The rows of these numbers, scaled: now, or where they are read if they are small whole numbers."""
        if self.alphabet is None and can_be_kept(rows):
            return KeptRows(source=rows, numbers=numbers, offset=self.offset, scale=self.scale)
        return self.apply(rows[numbers])

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Scaled rows, float32, of the same shape; tokens [n, length] as [n, length, classes]."""
        if self.alphabet is None:
            return scale_values(rows, self.offset, self.scale)
        encoded = np.empty((len(rows), *self.alphabet.encode(rows[:1]).shape[1:]), np.float32)
        for some in slices(encoded.shape):
            encoded[some] = self.alphabet.encode(rows[some])
        return encoded

    def as_json(self) -> dict[str, Any]:
        """The scaling as JSON values."""
        numbers = {"kind": self.kind, "offset": self.offset.tolist(), "scale": self.scale.tolist()}
        return numbers if self.alphabet is None else {**numbers, "classes": self.alphabet.classes}


_LEAST_SIDE = 8  # of an image; series have fewer channels, as a rule


def fit_scaling(kind: str, rows: Rows) -> Scaling:
    """The scaling of a kind, fitted on the training rows.

    Tables, rows of one dimension, are scaled by column; images by one number for all pixels, so that a dark corner
    stays dark. A column that does not vary keeps scale 1. "auto" is none where all values lie in [0, 1] already; else
    standard for tables; else, for images, 0–255 to 0–1 where the values look like it (none negative, the largest in
    128–255) and are no series, and minmax where they do not.

    Args:
        kind: "auto", "none", "counts", "minmax" or "standard".
        rows: raw values, shape [N, *row shape]; those missing are NaN and take no part.
    """
    axis = 0 if len(rows.shape) == 2 else None
    chosen = _choose_kind(rows) if kind == "auto" else kind
    if chosen in ("none", "counts", "image"):
        return _scaling(chosen, np.float64(0), np.float64(255 if chosen == "image" else 1))
    low, high = (bound.astype(np.float64) for bound in extremes(rows, axis))
    if chosen == "minmax":
        return _scaling(chosen, low, high - low)
    mean, deviation = known_moments(rows, axis)
    # Rounding leaves a constant column a deviation of 1e-17 or so, which must not be divided by.
    return _scaling(chosen, mean, np.where(high > low, deviation, 0.0))


def column_scaling(table: Sequence[Column], rows: Rows) -> Scaling:
    """Columns of numbers to mean 0 and standard deviation 1 over the training rows; what else a table holds stays."""
    standard = fit_scaling("standard", rows)
    are_numbers = np.array([column.kind == "number" for column in owners_of(table)])
    return Scaling(
        kind="columns",
        offset=np.where(are_numbers, standard.offset, 0.0),
        scale=np.where(are_numbers, standard.scale, 1.0),
    )


def one_hot_scaling(alphabet: Alphabet) -> Scaling:
    """Tokens as zeros and ones."""
    return Scaling(kind="tokens", offset=np.zeros([]), scale=np.ones([]), alphabet=alphabet)


def in_unit_interval(splits: Iterable[Rows]) -> bool:
    """Tell whether every value of these rows that is not missing lies in [0, 1]."""
    bounds = (extremes(rows) for rows in splits if len(rows))
    return all(bool(low >= 0 and high <= 1) for low, high in bounds)


def _choose_kind(rows: Rows) -> str:
    low, high = map(float, extremes(rows))
    if low >= 0 and high <= 1:
        return "none"
    if len(rows.shape) == 2:
        return "standard"
    return "image" if low >= 0 and 128 <= high <= 255 and _may_be_bytes(rows) else "minmax"


def _may_be_bytes(rows: Rows) -> bool:
    """Tell whether rows of 0–255 may be 8-bit images: bytes, whole numbers with two long sides, or no series."""
    held = rows.source if isinstance(rows, KeptRows) else rows
    has_two_sides = min(rows.shape[1:]) >= _LEAST_SIDE
    return held.dtype == np.uint8 or (has_two_sides and are_whole(held)) or not look_like_series(rows)


def _scaling(kind: str, offset: np.ndarray | np.float64, scale: np.ndarray | np.float64) -> Scaling:
    return Scaling(kind=kind, offset=np.asarray(offset), scale=np.where(scale > 0, scale, 1.0))
