"""Figures of the search: their text and the numbers behind them, from trials made by hand."""

import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

import pytest

from klsearch.reports.figures.search_exhibits import (
    effect_exhibits,
    progress_exhibit,
    rate_distortion_exhibit,
    slice_exhibits,
)
from klsearch.reports.readings.trials import ended_trials, score_history
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.studies.response import Change, Effect
from klsearch.studies.summary import summarize

Make = Callable[..., StudyRecord]

L2 = {"l2": {"low": 0.0, "high": 0.5}, "kl_weight": 0.1}


def with_trials(study: StudyRecord, changes: Sequence[dict[str, Any]]) -> StudyRecord:
    """The study with as many trials that pass every gate, each changed; `l2` and `unexplained` may be named too."""
    one = next(trial for trial in study.trials if trial.passed)
    assert one.measures is not None
    trials = []
    for number, change in enumerate(changes):
        values = dict(change)
        settings = replace(one.hyperparameters, l2=values.pop("l2", 0.25))
        measures = replace(one.measures, unexplained=values.pop("unexplained", 0.5))
        trials.append(replace(one, number=number, hyperparameters=settings, measures=measures, **values))
    return replace(study, trials=tuple(trials))


def gates_that_miss_one(study: StudyRecord) -> dict[str, Any]:
    """The gates of a trial that misses one."""
    one = next(trial for trial in study.trials if trial.passed)
    return {"gates": tuple(replace(gate, passed=gate.name != "band") for gate in one.gates)}


@pytest.fixture
def narrow(make: Make) -> StudyRecord:
    """A study of one searched hyperparameter, the L2 penalty from 0 to 0.5."""
    return make(20, seeds=0, space=L2)


def test_rate_and_distortion_are_told_by_outcome_with_median_and_range(narrow: StudyRecord) -> None:
    changes = [
        {"kl": 1.0, "unexplained": 0.5},
        {"kl": 3.0, "unexplained": 0.25},
        {"kl": 8.0, "unexplained": 0.1, **gates_that_miss_one(narrow)},
        {"kl": math.nan, "unexplained": math.nan, "state": RunState.FAILED},
    ]
    study = with_trials(narrow, changes)
    exhibit = rate_distortion_exhibit(study, ended_trials(study))
    assert exhibit is not None
    assert exhibit.data.columns == (
        *("outcome", "trials", "KL, nats per latent: median", "range", "unexplained: median", "range"),
    )
    assert exhibit.data.rows == (
        ("passes every gate", "2", "2", "1 to 3", "0.375", "0.25 to 0.5"),
        ("misses a gate", "1", "8", "8 to 8", "0.1", "0.1 to 0.1"),
        ("diverged or failed", "1", "–", "", "–", ""),
    )
    assert exhibit.alternative.startswith(
        "Final KL against unexplained, one point per trial: 2 trials of the outcome 'passes every gate', median KL 2, "
        "unexplained 0.375; 1 trial of the outcome 'misses a gate', median KL 8, unexplained 0.1; "
    )
    assert exhibit.alternative.endswith("The band is 0 to 5.")


def test_a_summed_kl_is_told_as_a_sum(make: Make) -> None:
    study = make(20, seeds=0, space=L2, study={"kl_reduction": "sum", "kl_band": [0.0, 40.0]})
    study = with_trials(study, [{"kl": 1.5}])
    exhibit = rate_distortion_exhibit(study, ended_trials(study))
    assert exhibit is not None
    assert exhibit.data.columns[2] == "KL, nats over all latents: median"
    assert exhibit.data.rows[0][2] == "12", "8 latents"


def test_where_nothing_was_measured_there_is_no_rate_and_distortion(
    make: Make, study_of_kind: Callable[[str], StudyRecord]
) -> None:
    for study in (make(0), study_of_kind("all diverged"), study_of_kind("all failed")):
        assert rate_distortion_exhibit(study, ended_trials(study)) is None


def test_the_caption_says_over_which_seeds_medians_are(
    study: StudyRecord, diverged: Callable[[StudyRecord, str, int], StudyRecord]
) -> None:
    captions = []
    for one in (study, diverged(study, "winner", 2)):
        exhibit = rate_distortion_exhibit(one, ended_trials(one))
        assert exhibit is not None
        captions.append(exhibit.caption.split("Large markers: ")[1])
    assert captions == [
        "the compared candidates' medians.",
        "the compared candidates' medians, over the seeds that did not diverge.",
    ]


def test_the_winner_s_ladder_is_a_line_told_by_kl_weight(narrow: StudyRecord) -> None:
    study = with_trials(narrow, [{"kl": 1.0, "unexplained": 0.5}])
    runs = [
        ConfirmationRun(
            candidate="ladder",
            state=one.state,
            hyperparameters=replace(one.hyperparameters, kl_weight=weight),
            seed=0,
            kl=kl,
            measures=one.measures,
        )
        for one in study.trials
        for weight, kl in ((0.01, 4.0), (0.1, 2.0), (1.0, math.nan))
    ]
    without, exhibit = (
        rate_distortion_exhibit(one, ended_trials(one)) for one in (study, replace(study, closing=tuple(runs)))
    )
    assert exhibit is not None and without is not None
    assert exhibit.alternative == f"{without.alternative} The line, by KL weight: 0.01: KL 4, 0.5; 0.1: KL 2, 0.5."
    assert "The line: the winner's other settings" in exhibit.caption and "The line" not in without.caption
    assert exhibit.svg != without.svg


def test_effects_are_told_and_tabled_in_one_order_for_both_measures() -> None:
    effects = [
        Effect("l2", Change(0.12, 0.08, 0.17), Change(0.0, -0.01, 0.01)),
        Effect("kl_weight", Change(0.01, -0.02, 0.04), Change(11.0, 7.0, 17.0)),
    ]
    unexplained, kl = effect_exhibits(effects)
    assert (unexplained.identity, kl.identity) == ("effects-unexplained", "effects-kl")
    assert unexplained.alternative == (
        "Change of unexplained over each range: l2: changes by 12 % (95 % 8 to 17 %); "
        "kl_weight: no effect seen: below 4 %."
    )
    assert kl.data.rows == (
        ("l2", "0 %", "-1 % to 1 %", "no effect seen: below 1 %"),
        ("kl_weight", "1100 %", "700 % to 1700 %", "changes by a factor of 12 (95 % 8 to 18)"),
    )


def test_every_searched_hyperparameter_has_a_figure_of_its_own(study: StudyRecord) -> None:
    names = list(study.definition.space.searched())
    sliced = slice_exhibits(study, summarize(study), ended_trials(study))
    assert [one.title for one in sliced] == names
    identities = [one.identity for one in sliced]
    assert len(set(identities)) == len(identities)
    assert not any("_" in identity for identity in identities)


def test_scores_by_fifths_of_a_range_are_those_of_whole_trainings(narrow: StudyRecord) -> None:
    """A trial that was stopped early is counted, but its score is not to be compared; a failed one has none."""
    changes: list[dict[str, Any]] = [
        {"l2": 0.0, "score": 0.4},
        {"l2": 0.05, "score": 0.2},
        {"l2": 0.08, "score": 0.9},
        {"l2": 0.09, "score": 0.01, "state": RunState.PRUNED},
        {"l2": 0.5, "score": math.nan, "state": RunState.FAILED},
    ]
    study = with_trials(narrow, changes)
    (exhibit,) = slice_exhibits(study, summarize(study), ended_trials(study))
    assert exhibit.data.rows[0] == ("0 to 0.1", "4", "0.2", "0.4")
    assert exhibit.data.rows[1] == ("0.1 to 0.2", "0", "–", "–")
    assert exhibit.data.rows[4] == ("0.4 to 0.5", "1", "–", "–")
    assert exhibit.alternative.startswith("Score by l2, best in each part of the range: 0 to 0.1: 0.2; 0.1 to 0.2: –; ")
    assert exhibit.alternative.endswith(" The line marks 0.05.")


def test_where_nobody_leads_no_line_is_spoken_of(narrow: StudyRecord) -> None:
    study = with_trials(narrow, [{"state": RunState.FAILED, "score": math.nan}])
    (exhibit,) = slice_exhibits(study, summarize(study), ended_trials(study))
    assert "The line" not in exhibit.alternative


def scored(trials: Sequence[TrialRecord], scores: Sequence[float], feasible: Sequence[bool]) -> tuple[TrialRecord, ...]:
    return tuple(
        replace(trial, score=score, feasible=kept) for trial, score, kept in zip(trials, scores, feasible, strict=True)
    )


def test_progress_tables_the_trials_that_improved_the_best_feasible_score(narrow: StudyRecord) -> None:
    made = with_trials(narrow, [{}] * 6)
    trials = scored(made.trials, [0.1, 3, 2, 2, 5, 1.5], [False, True, True, True, True, True])
    exhibit = progress_exhibit(score_history(replace(made, trials=trials)))
    assert exhibit.data.rows == (("1", "3"), ("2", "2"), ("5", "1.5"))
    assert exhibit.alternative == (
        "Score of 6 finished trials in the order of the search: the best feasible score falls from 3 to 1.5."
    )


def test_a_search_without_a_feasible_trial_says_so(narrow: StudyRecord) -> None:
    made = with_trials(narrow, [{}])
    trials = scored(made.trials, [1.0], [False])
    exhibit = progress_exhibit(score_history(replace(made, trials=trials)))
    assert exhibit.alternative == "Score of 1 finished trial in the order of the search: no trial is feasible."
    assert exhibit.data.rows == ()
