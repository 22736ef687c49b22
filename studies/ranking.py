"""The ranking of trainings: the order behind every *best*."""

import math
from collections.abc import Mapping
from typing import NamedTuple, Self


class Rank(NamedTuple):
    """The place of a training among others: the smaller, the better.

    A feasible training violates nothing, so those come first, by score. Without one, a training that is alive comes
    before one that collapsed or diverged; then the less violating, by powers of two; of those alike the lower score
    leads.

    Attributes:
        ended_early: whether it was, so that its measures are not those of a whole training.
        collapsed: whether too few of its latents are active, or it diverged.
        violation: by how much it violates constraints, added up, up to the next power of two.
        score: what the search minimises; infinite where there is none.
        number: of two alike, the earlier one.
    """

    ended_early: bool
    collapsed: bool
    violation: float
    score: float
    number: int = 0

    @classmethod
    def of(cls, *, complete: bool, violations: Mapping[str, float], score: float, number: int = 0) -> Self:
        """The rank of a training from the violation of each constraint gate, at most 0 where it is met.

        >>> Rank.of(complete=True, violations={"band": -0.5, "settled": 0.2}, score=0.3, number=7)
        Rank(ended_early=False, collapsed=False, violation=0.25, score=0.3, number=7)
        """
        total = sum(max(0.0, violation) for violation in violations.values())
        level = 2.0 ** math.ceil(math.log2(total)) if 0 < total < math.inf else total
        return cls(
            not complete, violations.get("alive", 0.0) > 0, level, math.inf if math.isnan(score) else score, number
        )

    @property
    def feasible(self) -> bool:
        """True if it was trained to its end and meets every constraint."""
        return not self.ended_early and self.violation == 0
