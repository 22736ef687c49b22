"""Differences between two candidates over seeds, with their 95 % intervals."""

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """A paired difference over seeds, winner − baseline, with its 95 % interval (Student's t).

    The interval speaks of training noise, not of sampling the data. One pair gives an infinite interval. A seed on
    which a side diverged has no value to subtract: it is left out and counted, and whoever tells the difference says
    so; a side that diverged more often is never called the better one.

    Attributes:
        pairs: seeds that both have.
        left_out: seeds left out because the first, and because the second, diverged there.
    """

    mean: float
    low: float
    high: float
    pairs: int
    left_out: tuple[int, int] = (0, 0)

    @property
    def first_less(self) -> bool:
        """Whether the first is surely lower, and did not diverge more often: of a measure that is better if lower."""
        return self.high < 0 and self.left_out[0] <= self.left_out[1]

    @property
    def second_less(self) -> bool:
        """The same of the second."""
        return self.low > 0 and self.left_out[1] <= self.left_out[0]

    def left_out_words(self, first: str, second: str) -> str:
        """Who diverged on how many seeds; empty where nobody did.

        >>> Difference(mean=0.0, low=-1.0, high=1.0, pairs=5, left_out=(2, 1)).left_out_words("winner", "before")
        'left out, having diverged: winner on 2 seeds and before on 1 seed'
        """
        sides = zip((first, second), self.left_out, strict=True)
        told = [f"{name} on {seeds} {'seed' if seeds == 1 else 'seeds'}" for name, seeds in sides if seeds]
        return f"left out, having diverged: {' and '.join(told)}" if told else ""


# By hand, as the next one: scipy.stats would add 0.3 s to `klsearch status`, and warns where values are equal.
def paired_difference(winner: dict[int, float], baseline: dict[int, float]) -> Difference:
    """Winner − baseline over the seeds that both have; values by seed, NaN where a run diverged."""
    seeds = sorted(winner.keys() & baseline.keys())
    left_out = _left_out([winner[seed] for seed in seeds], [baseline[seed] for seed in seeds])
    values = np.array([winner[seed] - baseline[seed] for seed in seeds])
    values = values[np.isfinite(values)]
    n = values.size
    mean = float(np.mean(values)) if n else math.nan
    if n < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, pairs=n, left_out=left_out)
    half = student_t95(n - 1) * float(np.std(values, ddof=1)) / math.sqrt(n)
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=n, left_out=left_out)


def relative(logarithm: float) -> float:
    """The relative difference that a difference of logarithms is; the largest number for one beyond it.

    >>> relative(0.0), relative(1e6) > 1e300
    (0.0, True)
    """
    return math.expm1(min(logarithm, 700.0))


def _left_out(first: Iterable[float], second: Iterable[float]) -> tuple[int, int]:
    return sum(not math.isfinite(value) for value in first), sum(not math.isfinite(value) for value in second)


def unpaired_difference(first: dict[int, float], second: dict[int, float]) -> Difference:
    """First − second where a seed of one has nothing to do with the same seed of the other: Welch's interval.

    Two finite values on either side give an interval; fewer an infinite one. No pairs are counted.
    """
    left_out = _left_out(first.values(), second.values())
    sides = [np.array([value for value in side.values() if math.isfinite(value)]) for side in (first, second)]
    if not all(side.size for side in sides):
        return Difference(mean=math.nan, low=-math.inf, high=math.inf, pairs=0, left_out=left_out)
    mean = float(np.mean(sides[0]) - np.mean(sides[1]))
    if min(side.size for side in sides) < 2:
        return Difference(mean=mean, low=-math.inf, high=math.inf, pairs=0, left_out=left_out)
    errors = [float(np.var(side, ddof=1)) / side.size for side in sides]
    half = 0.0
    if sum(errors) > 0:
        parts = (error**2 / (side.size - 1) for error, side in zip(errors, sides, strict=True))
        half = student_t95(sum(errors) ** 2 / sum(parts)) * math.sqrt(sum(errors))
    return Difference(mean=mean, low=mean - half, high=mean + half, pairs=0, left_out=left_out)


def student_t95(degrees: float) -> float:
    """The two-sided 95 % quantile of Student's t.

    >>> round(student_t95(7), 3)
    2.365
    """
    from scipy.special import stdtrit  # 0.2 s, for which `klsearch list` must not wait

    return float(stdtrit(degrees, 0.975))
