"""Axes that make a set of numbers readable, and their ticks."""

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

# Beyond these ratios the small values of a linear axis can no longer be told apart.
_LOG_RATIO = 30.0
_FITTED_RATIO = 10.0
_BEYOND_BAND = 4.0
_MOST_TICKS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Scale:
    """An axis.

    Attributes:
        kind: "symlog" is linear up to `linear_to` and logarithmic beyond.
        low: lower end.
        high: upper end.
        ticks: where the ticks stand; empty leaves them to matplotlib.
        linear_to: where a symlog axis turns logarithmic.
    """

    kind: Literal["linear", "log", "symlog"]
    low: float
    high: float
    ticks: tuple[float, ...] = ()
    linear_to: float = 1.0


def positive_scale(values: np.ndarray) -> Scale:
    """Linear, or logarithmic for positive numbers that span more than a factor of 30; values not finite are ignored."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Scale(kind="linear", low=0.0, high=1.0)
    low, high = float(np.min(finite)), float(np.max(finite))
    if low > 0 and high > _LOG_RATIO * low:
        return Scale(kind="log", low=low / 1.3, high=high * 1.3, ticks=log_ticks(low / 1.3, high * 1.3))
    if low == high:
        margin = 0.5 * abs(high) or 0.5
        return Scale(kind="linear", low=low - margin, high=high + margin, ticks=(high,))
    margin = 0.06 * (high - low)
    bottom = 0.0 if 0 <= low < 0.5 * high else low - margin
    return Scale(kind="linear", low=bottom, high=high + margin)


def fitted_scale(values: np.ndarray, *, least: float = 0.0) -> Scale:
    """As long as the numbers and a margin: linear, or logarithmic for positive ones that span more than a factor of 10.

    Args:
        values: those not finite are ignored.
        least: numbers below count as this.
    """
    finite = np.maximum(values[np.isfinite(values)], least)
    if not finite.size or np.min(finite) == np.max(finite):
        return positive_scale(finite)
    low, high = float(np.min(finite)), float(np.max(finite))
    if low > 0 and high > _FITTED_RATIO * low:
        margin = (high / low) ** 0.05
        return Scale(kind="log", low=low / margin, high=high * margin, ticks=log_ticks(low / margin, high * margin))
    margin = 0.06 * (high - low)
    return Scale(kind="linear", low=max(low - margin, 0.0 if low >= 0 else -math.inf), high=high + margin)


def kl_scale(values: np.ndarray, band: tuple[float, float]) -> Scale:
    """A scale from 0 with the whole band in sight: linear in it, and logarithmic beyond where KL leaves it far behind.

    A KL that explodes to thousands then shares an axis with a band of 0 to 5.
    """
    upper = band[1]
    finite = values[np.isfinite(values)]
    high = max(float(np.max(finite)) if finite.size else upper, upper)
    if high <= _BEYOND_BAND * upper:
        return Scale(kind="linear", low=0.0, high=1.08 * high)
    beyond = tuple(tick for tick in log_ticks(upper, 1.3 * high) if tick > 1.9 * upper)
    return Scale(kind="symlog", low=0.0, high=1.3 * high, ticks=(0.0, upper, *beyond), linear_to=upper)


def round_up(value: float) -> float:
    """The least of 1, 2 and 5 times a power of ten that is not below a positive value.

    >>> [round_up(value) for value in (0.3, 2.0, 5.1)]
    [0.5, 2.0, 10.0]
    """
    return _round_numbers(value, 10 * value, (1, 2, 5))[0]


def log_ticks(low: float, high: float) -> tuple[float, ...]:
    """Round numbers between two positive ones: powers of ten, or 1, 2 and 5 times them where there are too few.

    >>> log_ticks(0.5, 30)
    (0.5, 1.0, 2.0, 5.0, 10.0, 20.0)
    >>> log_ticks(1e-5, 10)
    (1e-05, 0.0001, 0.001, 0.01, 0.1, 1.0, 10.0)
    """
    fine = _round_numbers(low, high, (1, 2, 5))
    if len(fine) <= _MOST_TICKS:
        return fine
    powers = _round_numbers(low, high, (1,))
    return powers[:: math.ceil(len(powers) / _MOST_TICKS)]


def _round_numbers(low: float, high: float, steps: tuple[int, ...]) -> tuple[float, ...]:
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    # Written as a decimal first: 10.0**-5 * 2 is not the float that a reader calls 2e-05.
    numbers = (float(f"{step}e{power}") for power in range(first, last + 1) for step in steps)
    return tuple(one for one in numbers if low * (1 - 1e-9) <= one <= high * (1 + 1e-9))
