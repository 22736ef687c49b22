"""What is drawn against the KL weight: rungs or all trials, and who stands beside them."""

from collections.abc import Callable
from dataclasses import replace

import numpy as np

from klsearch.reports.readings.kl_weights import kl_weight_of, weighed_measures, weighed_runs
from klsearch.reports.readings.trials import TrialOutcome
from klsearch.studies.ladder import LADDER
from klsearch.studies.record import StudyRecord

Make = Callable[..., StudyRecord]


def test_of_a_study_with_a_ladder_only_its_rungs_are_drawn(laddered: StudyRecord) -> None:
    runs = weighed_runs(laddered)
    assert [trial.number for trial in runs.trials] == list(range(10))
    assert {trial.origin for trial in runs.trials} == {LADDER}
    kl = runs.points(weighed_measures(laddered)[0].read)
    assert kl.outcomes[0] is TrialOutcome.FAILED and np.isnan(kl.y[0]) and np.all(np.isfinite(kl.y[1:]))


def test_without_a_ladder_all_trials_trained_to_their_end_are_drawn_by_kl_weight(pruning: StudyRecord) -> None:
    runs = weighed_runs(pruning)
    assert runs.ladder is None
    assert {trial.number for trial in runs.trials} == {trial.number for trial in pruning.complete}
    weights = runs.points(lambda run: run.kl).x
    assert weights.tolist() == sorted(weights)


def test_the_kl_is_in_the_unit_of_the_band(make: Make) -> None:
    study = make(5, seeds=0, study={"kl_reduction": "sum", "kl_band": [0.0, 40.0]})
    kl, _, active = weighed_measures(study)
    run = next(trial for trial in study.trials if trial.measures is not None)
    assert (kl.label, kl.read(run)) == ("final KL, nats over all latents", 8 * run.kl)
    assert active.label == "active latents of 8" and run.measures is not None
    assert active.read(run) == run.measures.active_units


def test_who_finds_the_kl_weight_by_a_rule_has_no_place_on_its_axis(make: Make) -> None:
    study = make(30, baselines={"mine": {"kl_weight": 0.3}, "fitted": {"kl_weight": 0.5}})
    asked = make(0, baselines={"mine": {"kl_weight": 0.3}, "fitted": {"method": "sigma"}}).definition
    runs = weighed_runs(replace(study, definition=asked.settle(shape=(64,), kl_band=None)))
    found = {one.name: kl_weight_of(one) for _, one in runs.marks}
    assert {"winner": found["winner"], "mine": 0.3, "before": 1e-3, "after": 1e-4} == found
