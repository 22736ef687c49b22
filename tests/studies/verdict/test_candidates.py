"""The winner beside the baselines."""

from collections.abc import Callable
from dataclasses import replace

from klsearch.studies.record import StudyRecord
from klsearch.studies.verdict.candidates import best_trial, is_winner


def test_a_baseline_is_the_winner_only_with_the_same_settings(ill: Callable[..., StudyRecord]) -> None:
    study = ill(seeds=[{}] * 8, baseline=[{}] * 8)
    assert not is_winner(study, "mine")
    mine = study.definition.baseline_hyperparameters()["mine"]
    first = replace(study.trials[0], hyperparameters=mine)
    assert is_winner(replace(study, trials=(first, *study.trials[1:])), "mine")


def test_a_collapsed_trial_never_leads_over_one_that_is_alive(ill: Callable[..., StudyRecord]) -> None:
    collapsed, alive = {"kl": 0.49, "active": 0, "unexplained": 0.9}, {"kl": 60.0, "unexplained": 0.2}
    best = best_trial(ill([collapsed, alive]).trials)
    assert best is not None and best.number == 1


def test_a_near_tie_in_settled_does_not_decide_over_a_much_better_reconstruction(
    ill: Callable[..., StudyRecord],
) -> None:
    near = [{"growth": 0.30, "unexplained": 0.6}, {"growth": 0.31, "unexplained": 0.2}]
    best = best_trial(ill(near).trials)
    assert best is not None and best.number == 1
