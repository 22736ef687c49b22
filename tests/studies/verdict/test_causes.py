"""Why seeds fail."""

from collections.abc import Callable

from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.causes import SeedCause, failing_words

MOVING = {"growth": 0.5}


def test_seeds_that_all_fail_for_one_reason_are_told_so(ill: Callable[..., StudyRecord]) -> None:
    found = summarize(ill(seeds=[{}] * 5 + [MOVING] * 3))
    assert found.causes == (SeedCause("KL still moves at the end", 3),)
    assert "3 of 8 fail, all because KL still moves at the end." in found.sentence


def test_the_most_frequent_reason_comes_first(ill: Callable[..., StudyRecord]) -> None:
    found = summarize(ill(seeds=[{}] * 5 + [{"kl": 9.0}] + [MOVING] * 2))
    assert [cause.seeds for cause in found.causes] == [2, 1]
    assert "3 of 8 fail: 2 because KL still moves at the end, 1 because KL ends above the band." in found.sentence


def test_where_none_fails_nothing_is_said() -> None:
    assert failing_words(0, 8, ()) == ""
    assert (
        failing_words(1, 8, [SeedCause("KL ends above the band", 1)]) == "1 of 8 fails because KL ends above the band"
    )
