"""The order behind every *best*."""

import math

import pytest

from klsearch.studies.ranking import Rank

GATES = ("band", "settled", "alive", "clipping")


def rank(*violations: float, score: float = 0.5, complete: bool = True, number: int = 0) -> Rank:
    named = dict(zip(GATES, violations, strict=False))
    return Rank.of(complete=complete, violations=named, score=score, number=number)


@pytest.mark.parametrize(
    ("better", "worse"),
    [
        (rank(-0.1, score=0.2), rank(-0.9, score=0.3)),  # by how much a constraint is met is no merit
        (rank(0.0, score=0.9), rank(0.01, score=0.1)),
        (rank(0.1, -5.0, score=0.9), rank(0.2, score=0.1)),
        (rank(0.1, 0.1, score=0.3), rank(0.2, score=0.4)),
        (rank(2.0, score=3.0), rank(0.0, score=0.1, complete=False)),
        (rank(score=3.0), rank(score=math.nan)),
        (rank(number=3), rank(number=4)),
        (rank(50.0, score=3.0), rank(0.0, 0.0, 0.2, score=0.9)),  # one that is alive before one that collapsed
        (rank(0.0, 0.9, score=0.1), rank(0.0, 0.6, score=0.5)),  # a near-tie in settled decides nothing
    ],
)
def test_the_better_training_comes_first(better: Rank, worse: Rank) -> None:
    assert better < worse


def test_a_training_is_feasible_if_it_ended_and_violates_nothing() -> None:
    assert rank(-1.0, 0.0).feasible
    assert not rank(-1.0, 0.001).feasible
    assert not rank(-1.0, complete=False).feasible
