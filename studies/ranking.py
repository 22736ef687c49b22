"""The ranking of trainings: the order behind every *best*."""

import math
from collections.abc import Iterable
from typing import NamedTuple, Self


class Rank(NamedTuple):
    """The place of a training among others: the smaller, the better.

    A feasible training violates nothing, so those come first, by score; without one, the least violating leads.

    Attributes:
        ended_early: whether it was, so that its measures are not those of a whole training.
        violation: by how much it violates constraints, added up.
        score: what the search minimises; infinite where there is none.
        number: of two alike, the earlier one.
    """

    ended_early: bool
    violation: float
    score: float
    number: int = 0

    @classmethod
    def of(cls, *, complete: bool, violations: Iterable[float], score: float, number: int = 0) -> Self:
        """The rank of a training from the violation of each constraint, at most 0 where it is met.

        >>> Rank.of(complete=True, violations=[-0.5, 0.25], score=0.3, number=7)
        Rank(ended_early=False, violation=0.25, score=0.3, number=7)
        """
        total = sum(max(0.0, violation) for violation in violations)
        return cls(not complete, total, math.inf if math.isnan(score) else score, number)

    @property
    def feasible(self) -> bool:
        """True if it was trained to its end and meets every constraint."""
        return not self.ended_early and self.violation == 0
