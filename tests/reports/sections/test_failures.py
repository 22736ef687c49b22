"""What failed and why."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from klsearch.reports.page import Fold, Prose, Table
from klsearch.reports.readings.causes import FAILED, PRUNED, causes, collapsed_in_band, probability_above
from klsearch.reports.sections.failures import failures_section
from klsearch.studies.record import RunState, StudyRecord, TrialRecord
from klsearch.vae.diagnostics.gates import ABOVE, BELOW, DIVERGED

Make = Callable[..., StudyRecord]


def trials_by_cause(study: StudyRecord) -> dict[str, int]:
    return {cause.name: len(cause.trials) for cause in causes(study)}


def test_causes_are_counted_as_the_gates_say(study: StudyRecord) -> None:
    gates = [{gate.name: gate for gate in trial.gates} for trial in study.trials if not trial.diverged]
    counts = trials_by_cause(study)
    assert counts[ABOVE] == sum(not gate["band"].passed for gate in gates)
    assert counts["collapsed: too few latents are active"] == sum(not gate["alive"].passed for gate in gates)
    assert counts["log-variance held at a clip bound"] == sum(not gate["clipping"].passed for gate in gates)
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
    assert region["log-variance held at a clip bound"].startswith("high `clip_low`: median ")


def test_a_trial_stopped_early_counts_once_and_passes_nothing(pruning: StudyRecord) -> None:
    stopped = {trial.number for trial in pruning.trials if trial.state is RunState.PRUNED}
    found = causes(pruning)
    for cause in found:
        numbers = {trial.number for trial in cause.trials}
        assert numbers == stopped if cause.name == PRUNED else not numbers & stopped, cause.name
    passing = sum(all(gate.passed for gate in trial.gates) for trial in pruning.complete)
    text = failures_section(pruning, found).blocks[0]
    assert isinstance(text, Prose)
    assert text.text.startswith(f"Every gate is passed by {passing} of 60 trials.")


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


def test_collapsed_trials_in_the_band_are_explained_with_their_numbers(study: StudyRecord) -> None:
    collapsed = collapsed_in_band(study)
    assert len(collapsed) == 7
    texts = [block.text for block in failures_section(study, causes(study)).blocks if isinstance(block, Prose)]
    assert any(text.startswith("7 trials ended with a KL inside the band and yet collapsed") for text in texts)


def failed(trial: TrialRecord, error: str) -> TrialRecord:
    return replace(trial, state=RunState.FAILED, error=error, gates=(), curves=None)


def test_equal_errors_are_shown_once_with_their_count(study: StudyRecord) -> None:
    errors = ["ValueError: a\n  here"] * 3 + ["OSError: b"]
    trials = tuple(failed(trial, error) for trial, error in zip(study.trials, errors, strict=False))
    section = failures_section(replace(study, trials=trials), causes(replace(study, trials=trials)))
    (fold,) = (block for block in section.blocks if isinstance(block, Fold))
    assert [getattr(block, "label", "") for block in fold.blocks] == [
        "3 trials, first trial 0",
        "1 trial, first trial 3",
    ]
    (table,) = (block for block in section.blocks if isinstance(block, Table))
    assert table.rows[0][:3] == (FAILED, "4", "100 %")


def test_where_every_trial_passes_nothing_failed(study: StudyRecord) -> None:
    passing = replace(study, trials=tuple(trial for trial in study.trials if trial.passed))
    (block,) = failures_section(passing, causes(passing)).blocks
    assert isinstance(block, Prose)
    assert block.text.startswith("Nothing: all ")
