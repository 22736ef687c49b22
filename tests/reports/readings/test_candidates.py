"""Who is compared with whom."""

import math
from collections.abc import Callable
from dataclasses import replace

from klsearch.reports.readings.candidates import CandidateRuns, compared_candidates, confirmed_candidates
from klsearch.reports.report import render_report
from klsearch.studies.record import RunState, StudyRecord
from klsearch.studies.verdict.candidates import best_trial

Make = Callable[..., StudyRecord]


def test_a_confirmed_study_compares_its_winner_with_every_baseline_over_all_seeds(study: StudyRecord) -> None:
    assert [one.name for one in compared_candidates(study)] == ["winner", "before", "after"]
    assert [len(one.runs) for one in compared_candidates(study)] == [8, 8, 8]


def test_leading_trials_of_a_first_release_that_did_not_win_are_shown_between_winner_and_baselines(
    first_release: StudyRecord,
) -> None:
    names = [one.name for one in confirmed_candidates(first_release)]
    assert names[0] == "winner"
    assert [name.split()[0] for name in names[1:3]] == ["trial", "trial"]
    assert names[3:] == ["before", "after"]


def test_before_the_confirmation_the_best_trial_stands_beside_trials_with_a_baseline_s_settings(
    unconfirmed: StudyRecord,
) -> None:
    repeat = replace(unconfirmed.trials[0], origin="after")
    study = replace(unconfirmed, trials=(repeat, *unconfirmed.trials[1:]))
    best = best_trial(study.trials)
    assert best is not None
    assert [one.label for one in compared_candidates(study)] == [
        f"best so far (trial {best.number})",
        "after (trial 0)",
    ]
    assert confirmed_candidates(study) == ()


def test_trials_of_a_warm_start_are_no_rivals(unconfirmed: StudyRecord) -> None:
    earlier = [replace(trial, origin="old trial 3", warm_start=True) for trial in unconfirmed.trials[:10]]
    study = replace(unconfirmed, trials=(*earlier, *unconfirmed.trials[10:]))
    assert [one.name for one in compared_candidates(study)] == ["best so far"]


def test_confirmation_runs_count_when_they_have_ended(study: StudyRecord) -> None:
    running = [replace(run, state=RunState.RUNNING, gates=(), ended=None) for run in study.confirmation]
    ended = [run for run in study.confirmation if run.candidate != "after"]
    more = replace(study, confirmation=(*ended, *(run for run in running if run.candidate == "after")))
    assert [one.name for one in compared_candidates(more)] == ["winner", "before"]
    assert [len(one.runs) for one in confirmed_candidates(more)] == [8, 8]
    assert "after" in render_report(more)


def test_a_study_without_trials_compares_nobody(make: Make) -> None:
    assert compared_candidates(make(0)) == ()


def test_medians_leave_out_what_is_not_finite(study: StudyRecord) -> None:
    first, second, third = (replace(run, kl=kl) for run, kl in zip(study.trials, (1.0, 3.0, math.nan), strict=False))
    candidate = CandidateRuns(name="a", label="a", runs=(first, second, third))
    assert candidate.median(lambda run: run.kl) == 2.0
    assert math.isnan(CandidateRuns(name="a", label="a", runs=(third,)).median(lambda run: run.kl))
