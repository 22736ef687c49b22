"""What the winner costs in reconstruction, against each baseline."""

import math
from dataclasses import dataclass

from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import baseline_names, is_winner, runs_of, unexplained_on_test
from klsearch.studies.verdict.differences import paired_difference

_NOTICED = 0.1  # percent: no less is told


@dataclass(frozen=True, slots=True, kw_only=True)
class Price:
    """The relative difference in reconstruction error (`unexplained`, test split), winner against a baseline.

    Attributes:
        baseline: its name.
        change: exp(mean of the paired differences of ln `unexplained`) − 1; above 0 the winner is worse.
        low: the lower end of its 95 % interval.
        high: the upper end.
        pairs: seeds that both have.
    """

    baseline: str
    change: float
    low: float
    high: float
    pairs: int

    @property
    def words(self) -> str:
        """The price in words.

        >>> Price(baseline="mine", change=0.04, low=0.02, high=0.06, pairs=8).words
        'reconstruction error 4 % higher than `mine` (95 % 2 to 6 %)'
        >>> Price(baseline="mine", change=-0.04, low=-0.06, high=-0.02, pairs=8).words
        'reconstruction error 4 % lower than `mine` (95 % 2 to 6 %)'
        >>> Price(baseline="mine", change=0.01, low=-0.02, high=0.04, pairs=8).words
        'reconstruction error not distinguishable from that of `mine` (95 % -2 to 4 %)'
        >>> Price(baseline="mine", change=-1e-5, low=-4.4e-5, high=1.5e-5, pairs=8).words
        'no difference in reconstruction error from `mine` (95 % within 0.1 %)'
        """
        whose, (low, high) = f"`{self.baseline}`", (100 * self.low, 100 * self.high)
        if max(abs(low), abs(high)) < _NOTICED:
            if low <= 0 <= high:
                return f"no difference in reconstruction error from {whose} (95 % within {_NOTICED:g} %)"
            return f"reconstruction error within {_NOTICED:g} % of that of {whose}"
        finest = max(min(high - low, abs(low), abs(high)), _NOTICED)
        digits = max(0, -math.floor(math.log10(finest)))
        if low <= 0 <= high:
            return f"reconstruction error not distinguishable from that of {whose} ({_interval(low, high, digits)})"
        least, most = sorted((abs(low), abs(high)))
        side, change = "higher" if self.change > 0 else "lower", f"{100 * abs(self.change):.{digits}f} %"
        return f"reconstruction error {change} {side} than {whose} ({_interval(least, most, digits)})"


def _interval(low: float, high: float, digits: int) -> str:
    """An interval in percent; it has as many decimals as it takes to tell its ends apart, and from 0.

    >>> _interval(-0.4, 12.3, 0), _interval(0.31, 0.92, 1)
    ('95 % 0 to 12 %', '95 % 0.3 to 0.9 %')
    """
    return f"95 % {low:z.{digits}f} to {high:z.{digits}f} %"


def prices(study: StudyRecord) -> tuple[Price, ...]:
    """The price against every baseline but the winner itself; none where two pairs of finite values are lacking."""
    winner = _logarithms(unexplained_on_test(runs_of(study, "winner")))
    found = []
    for name in baseline_names(study):
        difference = paired_difference(winner, _logarithms(unexplained_on_test(runs_of(study, name))))
        if difference.pairs > 1 and not is_winner(study, name):
            change, low, high = (math.expm1(one) for one in (difference.mean, difference.low, difference.high))
            found.append(Price(baseline=name, change=change, low=low, high=high, pairs=difference.pairs))
    return tuple(found)


def _logarithms(values: dict[int, float]) -> dict[int, float]:
    return {seed: math.log(value) if value > 0 else math.nan for seed, value in values.items()}
