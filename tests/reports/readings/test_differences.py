"""Differences to a baseline, and what a run misses, in words."""

import math
from collections.abc import Callable
from dataclasses import replace

import pytest

from klsearch.reports.readings.differences import difference_on_test, direction, missed_gates, pairs_cell
from klsearch.reports.tables import confirmation_frame
from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.differences import Difference

INF = math.inf


def test_the_difference_to_a_baseline_is_paired_by_seed_on_the_test_split(study: StudyRecord) -> None:
    frame = confirmation_frame(study).set_index("seed")
    winner, before = (frame[frame["name"] == name]["test_kl"] for name in ("winner", "before"))
    difference = difference_on_test(study, "before", lambda measures: measures.kl)
    assert abs(difference.mean - (winner - before).mean()) < 1e-12
    assert difference.low < difference.mean < difference.high < 0
    assert difference.pairs == 8


def test_seeds_on_which_either_side_diverged_are_not_paired(
    study: StudyRecord, diverged: Callable[[StudyRecord, str, int], StudyRecord]
) -> None:
    lost = diverged(diverged(study, "winner", 2), "before", 3)
    found = difference_on_test(lost, "before", lambda measures: measures.kl)
    assert (found.pairs, found.left_out) == (5, (2, 3))


def test_a_baseline_that_was_not_confirmed_differs_by_nothing_that_is_known(unconfirmed: StudyRecord) -> None:
    found = difference_on_test(unconfirmed, "before", lambda measures: measures.kl)
    assert (found.pairs, math.isnan(found.mean), direction(found)) == (0, True, "not distinguishable")


def difference(low: float, high: float, *, left_out: tuple[int, int] = (0, 0), pairs: int = 8) -> Difference:
    return Difference(mean=(low + high) / 2, low=low, high=high, pairs=pairs, left_out=left_out)


@pytest.mark.parametrize(
    ("found", "words"),
    [
        (difference(-3, -1), "lower"),
        (difference(1, 3), "higher"),
        (difference(-1, 3), "not distinguishable"),
        (difference(-3, 0), "not distinguishable"),
        (difference(0, 3), "not distinguishable"),
        (difference(-INF, INF, pairs=1), "not distinguishable"),
        (difference(-3, -1, left_out=(1, 0)), "lower where none diverged"),
        (difference(1, 3, left_out=(0, 2)), "higher where none diverged"),
        (difference(-1, 3, left_out=(1, 2)), "not distinguishable"),
    ],
)
def test_a_difference_has_a_direction_only_where_its_interval_leaves_zero_out(found: Difference, words: str) -> None:
    assert direction(found) == words


@pytest.mark.parametrize(
    ("left_out", "cell"),
    [
        ((0, 0), "5"),
        ((1, 0), "5 (left out, having diverged: winner on 1 seed)"),
        ((0, 2), "5 (left out, having diverged: before on 2 seeds)"),
        ((2, 1), "5 (left out, having diverged: winner on 2 seeds and before on 1 seed)"),
    ],
)
def test_the_number_of_pairs_says_who_diverged_on_how_many_seeds(left_out: tuple[int, int], cell: str) -> None:
    assert pairs_cell(difference(-1, 1, left_out=left_out, pairs=5), "winner", "before") == cell


def test_missed_gates_are_named_in_the_order_in_which_they_are_judged(study: StudyRecord) -> None:
    run = next(trial for trial in study.trials if trial.passed)
    gates = tuple(replace(gate, passed=gate.name not in ("clipping", "band")) for gate in run.gates)
    assert missed_gates(replace(run, gates=gates)) == "band, clipping"
    assert missed_gates(run) == ""
