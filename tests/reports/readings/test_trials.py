"""What the figures of the search draw."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from klsearch.reports.readings.trials import (
    TrialOutcome,
    bin_edges,
    bin_of,
    ended_trials,
    rate_distortion,
    score_history,
    slice_of,
    trial_outcome,
)
from klsearch.studies.definitions.space import IntegerRange, Range
from klsearch.studies.record import RunState, StudyRecord

Make = Callable[..., StudyRecord]


def test_every_ended_trial_is_a_point_and_a_running_one_is_not(unconfirmed: StudyRecord) -> None:
    running = replace(unconfirmed.trials[-1], state=RunState.RUNNING)
    study = replace(unconfirmed, trials=(*unconfirmed.trials[:-1], running))
    points = rate_distortion(ended_trials(study), 1.0)
    assert len(points.x) == 59
    assert points.drawable.sum() == sum(not trial.diverged for trial in study.trials[:-1])


def test_outcomes_tell_passing_missing_pruned_and_failed_trials_apart(study: StudyRecord) -> None:
    passing = next(trial for trial in study.trials if trial.passed)
    missing = next(trial for trial in study.trials if not trial.passed and not trial.diverged)
    diverged = next(trial for trial in study.trials if trial.diverged)
    assert trial_outcome(passing) is TrialOutcome.PASSED
    assert trial_outcome(missing) is TrialOutcome.MISSED
    assert trial_outcome(replace(missing, state=RunState.PRUNED)) is TrialOutcome.PRUNED
    assert trial_outcome(diverged) is TrialOutcome.FAILED
    assert trial_outcome(replace(passing, state=RunState.FAILED)) is TrialOutcome.FAILED


def test_a_slice_keeps_trials_that_have_no_score(unconfirmed: StudyRecord) -> None:
    lost = replace(unconfirmed.trials[0], score=float("nan"), state=RunState.FAILED)
    points = slice_of(ended_trials(replace(unconfirmed, trials=(lost,))), "l2")
    assert points.x.tolist() == [lost.hyperparameters.l2]
    assert np.isnan(points.y).all()
    assert points.where(TrialOutcome.FAILED).all()


@pytest.mark.parametrize(
    ("space", "expected"),
    [
        (Range(low=0.0, high=0.5), [0.0, 0.1, 0.2, 0.3, 0.4, 0.5]),
        (Range(low=1e-5, high=1.0, log=True), [1e-5, 1e-4, 1e-3, 1e-2, 1e-1, 1.0]),
        (IntegerRange(low=3, high=5), [2.5, 3.5, 4.5, 5.5]),
    ],
)
def test_bins_are_equally_wide_on_the_range_s_own_scale(space: Range, expected: list[float]) -> None:
    np.testing.assert_allclose(bin_edges(space), expected)


def test_both_ends_of_a_range_lie_inside_it() -> None:
    edges = bin_edges(Range(low=1e-5, high=1.0, log=True))
    assert bin_of(edges, [1e-5, 1.0, 2.0, 1e-6]).tolist() == [0, 4, -1, -1]


def test_the_best_score_so_far_counts_feasible_trials_only(study: StudyRecord) -> None:
    trials = tuple(
        replace(trial, number=number, score=score, feasible=feasible)
        for number, (trial, score, feasible) in enumerate(
            zip(study.trials, (5.0, 3.0, 1.0, 4.0), (False, True, False, True), strict=False)
        )
    )
    search = score_history(replace(study, trials=trials))
    np.testing.assert_array_equal(search.best, [np.nan, 3.0, 3.0, 3.0])
    assert (search.last_improvement, search.since) == (1, 2)


def test_a_search_without_a_feasible_trial_never_improved(study: StudyRecord) -> None:
    trials = tuple(replace(trial, feasible=False) for trial in study.trials)
    search = score_history(replace(study, trials=trials))
    assert search.last_improvement is None
    assert np.isnan(search.best).all()
