"""What data suggest: their likelihood, and the KL weights worth searching."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from klsearch.vae.data.readers.raw import Column
from klsearch.vae.data.rows import Rows, slices
from klsearch.vae.data.tokens import PADDING, one_hot_width

_LOOKED_AT = 1024  # rows, from all over them
_MOST_VALUES = 2**21  # of series, of which fewer rows tell as much: this is done before every training
_LEAST_COUNT = 3  # the largest value of counts; below, chance alone may look like it
_MOST_TOKENS = 100  # beyond, counts are as likely to be that large
_MANY_PLACES = 0.5
_OVERDISPERSED = 1.5  # variance over mean, of the median column
# Neighbours along the channels of series are no more alike than any two: their mean squared difference is about that of
# all pairs. Along the columns of images it is less (clothes 0.34 of it, handwritten digits 0.75), and so along steps.
_UNORDERED, _ORDERED = 0.9, 0.8
_COLOURS = (1, 3, 4)  # channels of images: grey; red, green and blue; and how opaque
_IMAGE_RATIO = 2  # of the shorter side to channels, from which the first axis of images is no height
_SERIES_RATIO = 4  # of length to channels, from which rows are no pictures, whatever they hold
# Trainings to search over, from where all latents collapse down to far below a plain VAE.
_DECADES = 4
# Around a plain VAE, where what collapses is not known beforehand.
_BELOW, _ABOVE = 1e-2, 10.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """A likelihood for data, and why.

    Attributes:
        likelihood: its name.
        reason: in a line.
    """

    likelihood: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class KlWeights:
    """The KL weights worth searching.

    Attributes:
        low: the least.
        high: the largest.
        reason: in a line.
    """

    low: float
    high: float
    reason: str


def look_like_series(rows: Rows) -> bool:
    """Tell whether training rows [n, *shape] are series [length, channels], by their shape or by what they hold."""
    if len(rows.shape) != 3:
        return False
    _, length, channels = rows.shape
    return length > _SERIES_RATIO * channels or are_series(rows)


def are_series(rows: Rows) -> bool:
    """Tell whether training rows [n, length, channels] are series rather than images, by how alike neighbours are."""
    centred, deviation = _centred(rows)
    standard = centred / np.where(deviation > 0, deviation, 1.0)
    steps, channels = (_unlikeness(standard, axis) for axis in (1, 2))
    return channels >= _UNORDERED and steps < _ORDERED * channels


def channel_variances(rows: Rows) -> np.ndarray:
    """The variance that each channel adds to training rows [n, …, channels], summed over its places: [channels]."""
    _, deviation = _centred(rows)
    return np.asarray(np.square(deviation).sum(axis=tuple(range(deviation.ndim - 1))))


def _centred(rows: Rows) -> tuple[np.ndarray, np.ndarray]:
    """Some rows about the mean of each place, 0 where a value is missing, and the standard deviations of the places."""
    some = np.asarray(rows[_evenly(len(rows), most=_MOST_VALUES // math.prod(rows.shape[1:]))], np.float64)
    known = ~np.isnan(some)
    count = np.maximum(known.sum(axis=0), 1)
    centred = np.where(known, some - np.sum(some, axis=0, where=known) / count, 0.0)
    return centred, np.sqrt(np.sum(np.square(centred), axis=0) / count)


def have_channels_first(rows: Rows) -> bool:
    """Tell whether training rows [n, *shape] are series [n, channels, length] or images [n, channels, height, width].

    Many libraries give them so. Of images the shape tells, of series what they hold.
    """
    if len(rows.shape) == 4:
        _, channels, *sides = rows.shape
        return channels in _COLOURS and min(sides) >= _IMAGE_RATIO * channels and min(sides) > max(_COLOURS)
    if len(rows.shape) != 3:
        return False
    _, channels, length = rows.shape
    if channels == 1:
        return length > 1
    some = rows[_evenly(len(rows), most=_MOST_VALUES // (channels * length))]
    return are_series(np.swapaxes(some, 1, 2))


def _unlikeness(values: np.ndarray, axis: int) -> float:
    """Mean squared difference of neighbours along an axis, as a share of that of all pairs; 1 where there is none."""
    count = values.shape[axis]
    pairs = 2 * float(np.mean(np.var(values, axis=axis))) * count / max(count - 1, 1)
    return float(np.mean(np.square(np.diff(values, axis=axis)))) / pairs if pairs > 0 else 1.0


def choose_likelihood(rows: Rows, table: Sequence[Column] | None = None) -> Choice:
    """A likelihood for raw training rows [n, *shape], in which NaN stands for what is missing, or of these columns."""
    kinds = dict.fromkeys(column.kind for column in table or ())
    if len(kinds) > 1 or "category" in kinds:
        words = {"number": "numbers", "count": "counts", "truth value": "truth values", "category": "categories"}
        held = ", ".join(words[kind] for kind in kinds)
        return Choice(likelihood="mixed", reason=f"columns that hold {held}, each scored by its kind")
    some = rows[_evenly(len(rows))]
    known = some[~np.isnan(some)] if some.dtype.kind == "f" else some.ravel()
    low, high = float(known.min()), float(known.max())
    if width := one_hot_width(some):
        return Choice(likelihood="categorical", reason=f"one-hot tokens, {width} of them")
    if low >= 0 and high <= 1:
        if are_binary(some):
            return Choice(likelihood="bernoulli", reason="zeros and ones")
        return Choice(
            likelihood="gaussian",
            reason="in [0, 1], but not 0 or 1; 'bernoulli' would take them for probabilities, and never reach 0",
        )
    if some.ndim == 2 and bool(np.all(known == np.rint(known))) and high >= _LEAST_COUNT and low >= PADDING:
        tokens = "; 'categorical' if they are tokens" if _may_be_tokens(some, high) else ""
        if low >= 0:
            counts = _of_counts(some, empty=_count_empty(rows))
            return Choice(likelihood=counts.likelihood, reason=counts.reason + tokens)
        if tokens:
            reason = f"whole numbers from {PADDING} on{tokens} and {PADDING} is padding"
            return Choice(likelihood="gaussian", reason=reason)
    return Choice(likelihood="gaussian", reason="numbers; 'student_t' if some are far out")


def are_binary(rows: Rows) -> bool:
    """Tell whether rows hold zeros and ones alone, but for what is missing."""
    some = rows[_evenly(len(rows))]
    return bool(np.isin(some[~np.isnan(some)] if some.dtype.kind == "f" else some, (0, 1)).all())


def _may_be_tokens(rows: np.ndarray, high: float) -> bool:
    """Tell whether whole numbers [n, length] may be tokens: few of them, the largest at many places, unlike counts."""
    return high < _MOST_TOKENS and float(np.mean(np.nanmax(rows, axis=0) == high)) >= _MANY_PLACES


def _count_empty(rows: Rows) -> int:
    """How many rows [n, columns] hold nothing but zeros; of all, for one is enough to leave no library size."""
    return sum(int(np.sum(np.nansum(rows[some], axis=1) == 0)) for some in slices(rows.shape))


def _of_counts(rows: np.ndarray, *, empty: int) -> Choice:
    mean, variance = np.nanmean(rows, axis=0), np.nanvar(rows, axis=0)
    ratio = float(np.median(variance[mean > 0] / mean[mean > 0]))
    times = f"{ratio:.2g}" if ratio < 10 else f"{ratio:,.0f}"
    reason = f"counts, whose variance is {times} times their mean"
    if ratio <= _OVERDISPERSED:
        return Choice(likelihood="poisson", reason=reason)
    if empty:
        hold = "1 row holds" if empty == 1 else f"{empty:,} rows hold"
        them = "it" if empty == 1 else "them"
        reason += f", but {hold} nothing but zeros; remove {them} and take 'negative_binomial'"
        return Choice(likelihood="poisson", reason=reason)
    return Choice(likelihood="negative_binomial", reason=reason)


def choose_kl_weights(train: Rows, *, unit: float, is_squared_error: bool) -> KlWeights:
    """The KL weights worth searching for scaled training rows [n, *shape], NaN where a value is missing.

    A linear VAE with squared errors keeps a latent only where an eigenvalue λ of the data's covariance exceeds half
    its weight in units of β = 1 (Lucas et al. 2019): from 2 λ₁ on none of them carries anything. No deeper one was seen
    to keep any far beyond.

    Args:
        train: the rows.
        unit: the KL weight that stands for β = 1.
        is_squared_error: whether that is what the loss is made of.
    """
    if not is_squared_error:
        return KlWeights(
            low=_rounded(_BELOW * unit), high=_rounded(_ABOVE * unit), reason=f"around a plain VAE's, {unit:.3g}"
        )
    largest = largest_eigenvalue(train)
    edge = 2 * largest * unit
    return KlWeights(
        low=_rounded(edge / 10**_DECADES),
        high=_rounded(edge),
        reason=f"from about {edge:.3g} on a linear VAE keeps no latent (largest variance along a line: {largest:.3g})",
    )


def largest_eigenvalue(train: Rows) -> float:
    """λ₁ of the covariance of rows [n, *shape], of at most 1,024 of them; what is missing counts as the mean."""
    rows = train[_evenly(len(train))].reshape(-1, math.prod(train.shape[1:])).astype(np.float64)
    centred = rows - np.nanmean(rows, axis=0)
    centred = np.where(np.isnan(centred), 0.0, centred)
    products = centred @ centred.T if len(centred) < centred.shape[1] else centred.T @ centred
    return float(np.linalg.eigvalsh(products)[-1]) / len(centred)


def _evenly(count: int, *, most: int = _LOOKED_AT) -> np.ndarray:
    """The places of at most so many of `count` rows, two at least."""
    taken = min(count, _LOOKED_AT, max(most, 2))
    found: np.ndarray = np.unique(np.linspace(0, count - 1, taken).astype(np.int64))
    return found


def _rounded(value: float) -> float:
    """To one digit: 2 λ₁ is a bound for linear models, not a measurement."""
    return float(f"{value:.0e}")
