"""Why trials miss: who counts to which cause, and at which settings it strikes."""

import math
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import mannwhitneyu

from klsearch.reports.readings.causes import (
    causes,
    collapsed_in_band,
    gate_value,
    probability_above,
)
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.studies.verdict.causes import FAILED, PRUNED
from klsearch.vae.diagnostics.gates import ABOVE, BELOW, DIVERGED, MOVING

Make = Callable[..., StudyRecord]


def trials_by_cause(study: StudyRecord) -> dict[str, int]:
    return {cause.name: len(cause.trials) for cause in causes(study)}


def passing_trials(study: StudyRecord, count: int) -> tuple[TrialRecord, ...]:
    """So many trials that pass every gate, all of the same settings."""
    one = next(trial for trial in study.trials if trial.passed)
    return tuple(replace(one, number=number) for number in range(count))


def that_misses(trial: TrialRecord, *names: str, kl: float = 9.0) -> TrialRecord:
    """The trial, which misses the gates of these names; its KL is `kl`."""
    gates = tuple(
        replace(gate, passed=gate.name not in names, value=kl if gate.name == "band" else gate.value)
        for gate in trial.gates
    )
    return replace(trial, gates=gates)


def test_causes_are_counted_as_the_gates_say(study: StudyRecord) -> None:
    gates = [{gate.name: gate for gate in trial.gates} for trial in study.trials if not trial.diverged]
    counts = trials_by_cause(study)
    assert counts[ABOVE] == sum(not gate["band"].passed for gate in gates)
    assert counts["it collapsed: too few latents are active"] == sum(not gate["alive"].passed for gate in gates)
    assert counts["the log-variance is held at a clip bound"] == sum(not gate["clipping"].passed for gate in gates)
    assert counts[DIVERGED] == sum(trial.diverged for trial in study.trials)


def test_a_kl_below_the_band_is_told_from_one_above(make: Make) -> None:
    study = make(20, seeds=0, study={"kl_band": [3.0, 5.0]})
    counts = trials_by_cause(study)
    values = [gate.value for trial in study.trials for gate in trial.gates if gate.name == "band"]
    assert counts[BELOW] == sum(value < 3 for value in values)
    assert counts[ABOVE] == sum(value > 5 for value in values)


def test_a_diverged_trial_counts_once_although_it_misses_every_gate(make: Make) -> None:
    study = make(5, seeds=0, space={"kl_weight": {"low": 1e-6, "high": 1e-5, "log": True}})
    assert trials_by_cause(study) == {DIVERGED: 5}


def test_a_cause_names_the_hyperparameter_that_tells_its_trials_apart(study: StudyRecord) -> None:
    region = {cause.name: cause.region for cause in causes(study)}
    assert region[ABOVE].startswith("low `kl_weight`: median ")
    assert region[DIVERGED].startswith("low `kl_weight`: median ")
    assert region["the log-variance is held at a clip bound"].startswith("high `clip_low`: median ")


def test_trials_stopped_early_are_not_told_to_be_without_a_cause(pruning: StudyRecord) -> None:
    whole = replace(pruning, trials=pruning.complete)
    assert {cause.name: cause.region for cause in causes(whole)}.items() <= {
        cause.name: cause.region for cause in causes(pruning)
    }.items()


def test_two_trials_are_too_few_to_name_a_region(make: Make) -> None:
    study = make(2, seeds=0, space={"kl_weight": {"low": 1e-4, "high": 1e-3, "log": True}})
    assert {cause.region for cause in causes(study)} == {""}


def test_probability_above_is_one_half_for_equal_values_and_one_for_larger_ones() -> None:
    assert probability_above(np.array([1.0, 1.0]), np.array([1.0])) == 0.5
    assert probability_above(np.array([2.0, 3.0]), np.array([0.0, 1.0])) == 1.0
    assert probability_above(np.array([0.0]), np.array([1.0, 2.0])) == 0.0


def test_a_trial_counts_to_every_gate_that_it_misses_the_most_frequent_cause_first(study: StudyRecord) -> None:
    first, second, third, fine = passing_trials(study, 4)
    trials = (
        that_misses(first, "band", "settled"),
        that_misses(second, "settled"),
        that_misses(third, "band", kl=-1.0),
        fine,
    )
    found = {cause.name: [trial.number for trial in cause.trials] for cause in causes(replace(study, trials=trials))}
    assert found == {MOVING: [0, 1], ABOVE: [0], BELOW: [2]}
    assert list(found) == [MOVING, ABOVE, BELOW], "of equally frequent ones the first by name"


def test_a_trial_that_failed_or_was_stopped_counts_for_that_alone_and_a_running_one_not_at_all(
    study: StudyRecord,
) -> None:
    states = (RunState.FAILED, RunState.PRUNED, RunState.RUNNING, RunState.COMPLETE)
    trials = tuple(
        replace(that_misses(trial, "band"), state=state)
        for trial, state in zip(passing_trials(study, 4), states, strict=True)
    )
    assert trials_by_cause(replace(study, trials=trials)) == {FAILED: 1, PRUNED: 1, ABOVE: 1}


def test_where_every_trial_passes_or_none_has_ended_there_is_no_cause(study: StudyRecord, make: Make) -> None:
    assert causes(replace(study, trials=passing_trials(study, 3))) == ()
    assert causes(make(0)) == ()


def with_l2(trial: TrialRecord, l2: float) -> TrialRecord:
    return replace(trial, hyperparameters=replace(trial.hyperparameters, l2=l2))


@pytest.mark.parametrize(
    ("hit", "others", "region"),
    [
        ([5, 6, 7, 8, 9, 10], [1, 2, 3, 4, 4, 4], "high `l2`: median 7.5, the others 3.5"),
        ([1, 2, 3, 4, 4, 4], [5, 6, 7, 8, 9, 10], "low `l2`: median 3.5, the others 7.5"),
        ([4, 6, 8, 8], [1, 5, 5, 7], ""),
        ([4, 6, 8, 8], [3, 5, 7, 7], ""),
        ([5, 6, 7], [1, 2], ""),
        ([5, 6], [1, 2, 3], ""),
        ([4, 4, 4], [4, 4, 4], ""),
        ([2, 4, 6], [1, 3, 5], ""),
    ],
    ids=["above", "below", "by chance", "less clear", "two others", "two hit", "equal", "mixed"],
)
def test_a_region_is_named_only_where_chance_would_seldom_give_one(
    study: StudyRecord, hit: list[float], others: list[float], region: str
) -> None:
    """Of six and six all on one side, 2 of 924 ways do so well; of four and four three quarters, far more."""
    values = [*hit, *others]
    trials = tuple(
        with_l2(trial, value) for trial, value in zip(passing_trials(study, len(values)), values, strict=True)
    )
    trials = (*(that_misses(trial, "band") for trial in trials[: len(hit)]), *trials[len(hit) :])
    (cause,) = causes(replace(study, trials=trials))
    assert cause.region == region


finite_lists = st.lists(st.integers(-5, 5).map(float), min_size=1, max_size=8).map(np.array)


@given(finite_lists, finite_lists)
def test_probability_above_is_mann_and_whitney_s_u_over_the_number_of_pairs(
    first: np.ndarray, second: np.ndarray
) -> None:
    u = mannwhitneyu(first, second, method="asymptotic").statistic
    assert probability_above(first, second) == pytest.approx(u / (len(first) * len(second)))
    assert probability_above(first, second) + probability_above(second, first) == pytest.approx(1)


def test_a_gate_that_was_not_judged_has_no_value(study: StudyRecord) -> None:
    (trial,) = passing_trials(study, 1)
    assert gate_value(that_misses(trial, kl=2.5), "band") == 2.5
    assert math.isnan(gate_value(replace(trial, gates=()), "band"))


def test_only_complete_trials_that_keep_the_band_and_miss_the_latents_have_collapsed_in_it(study: StudyRecord) -> None:
    first, second, third, fourth = passing_trials(study, 4)
    trials = (
        that_misses(first, "alive"),
        that_misses(second, "alive", "band"),
        third,
        replace(that_misses(fourth, "alive"), state=RunState.PRUNED),
    )
    assert [trial.number for trial in collapsed_in_band(replace(study, trials=trials))] == [0]
