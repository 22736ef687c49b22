"""What the winner costs in reconstruction, against each baseline."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import baseline_names, is_winner, reconstruction_difference
from klsearch.studies.verdict.differences import relative
from klsearch.vae.diagnostics.gates import MIN_CONFIRMATION_SEEDS

_START = "reconstruction error "
_NOTICED = 0.1  # percent: no less is told
_MOST_DIGITS = 6


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
    def sentence(self) -> str:
        """The price as a clause: "the winner's reconstruction error is 4 % higher than …"."""
        return f"the winner's {_START}is {self._comparison}"

    @property
    def words(self) -> str:
        """The price in words, with its interval.

        >>> Price(baseline="mine", change=0.04, low=0.02, high=0.06, pairs=8).words
        'reconstruction error 4 % higher than that of `mine` (95 % 2 to 6 %)'
        >>> Price(baseline="mine", change=-0.04, low=-0.06, high=-0.02, pairs=8).words
        'reconstruction error 4 % lower than that of `mine` (95 % 2 to 6 %)'
        >>> Price(baseline="mine", change=0.01, low=-0.02, high=0.04, pairs=8).words
        'reconstruction error not distinguishable from that of `mine` (95 %: 2 % lower to 4 % higher)'
        >>> Price(baseline="a", change=0.11, low=-0.02, high=0.25, pairs=3).words
        'reconstruction error 11 % higher than that of `a` on 3 seeds, too few to tell (95 %: 2 % lower to 25 % higher)'
        >>> Price(baseline="mine", change=-1e-5, low=-4.4e-5, high=1.5e-5, pairs=8).words
        'reconstruction error no different from that of `mine` (95 %: by less than 0.1 %)'
        >>> Price(baseline="mine", change=0.04025, low=0.0401, high=0.0404, pairs=8).words
        'reconstruction error 4.03 % higher than that of `mine` (95 % 4.01 to 4.04 %)'
        """
        return f"{_START}{self._comparison}"

    @property
    def _comparison(self) -> str:
        whose, (low, high) = f"that of `{self.baseline}`", (100 * self.low, 100 * self.high)
        if max(abs(low), abs(high)) < _NOTICED:
            if low <= 0 <= high:
                return f"no different from {whose} (95 %: by less than {_NOTICED:g} %)"
            return f"within {_NOTICED:g} % of {whose}"
        # As many decimals as it takes to tell the ends of the interval apart, and from 0.
        finest = max(min(high - low, abs(low), abs(high)), _NOTICED)
        digits = max(0, -math.floor(math.log10(finest)))
        while high > low and digits < _MOST_DIGITS and f"{low:.{digits}f}" == f"{high:.{digits}f}":
            digits += 1
        least, most = sorted((abs(low), abs(high)))
        side, change = "higher" if self.change > 0 else "lower", f"{100 * abs(self.change):.{digits}f} %"
        if low <= 0 <= high:
            interval = f"(95 %: {-low:z.{digits}f} % lower to {high:z.{digits}f} % higher)"
            if self.pairs < MIN_CONFIRMATION_SEEDS:  # one that left: that nothing is seen says little
                return f"{change} {side} than {whose} on {self.pairs} seeds, too few to tell {interval}"
            return f"not distinguishable from {whose} {interval}"
        return f"{change} {side} than {whose} (95 % {least:.{digits}f} to {most:.{digits}f} %)"


def price_words(found: Sequence[Price]) -> str:
    """All prices as one sentence; empty without any.

    >>> price_words([Price(baseline=one, change=0.04, low=0.02, high=0.06, pairs=8) for one in "ab"])
    'Reconstruction error 4 % higher than that of `a` (95 % 2 to 6 %), 4 % higher than that of `b` (95 % 2 to 6 %).'
    """
    told = ", ".join(one.words.removeprefix(_START) for one in found)
    return f"{_START.capitalize()}{told}." if told else ""


def prices(study: StudyRecord) -> tuple[Price, ...]:
    """The price against every baseline but the winner itself; none where two pairs of finite values are lacking."""
    found = []
    for name in baseline_names(study):
        difference = reconstruction_difference(study, name)
        if difference.pairs > 1 and not is_winner(study, name):
            change, low, high = (relative(one) for one in (difference.mean, difference.low, difference.high))
            found.append(Price(baseline=name, change=change, low=low, high=high, pairs=difference.pairs))
    return tuple(found)
