"""A winner that a PCA of as many components outdoes."""

import tomllib
from collections.abc import Callable
from dataclasses import replace

import pytest

from klsearch.studies.record import StudyRecord
from klsearch.studies.summary import summarize
from klsearch.studies.verdict.advice import advise
from klsearch.studies.verdict.linear import better_pca, surpass_pca

Ill = Callable[..., StudyRecord]


def beside_pca(study: StudyRecord, unexplained: float) -> StudyRecord:
    assert study.data is not None
    return replace(study, data=replace(study.data, pca={"test": unexplained}))


def test_the_winners_median_is_held_against_the_pca_of_the_test_split(ill: Ill) -> None:
    study = ill(seeds=[{"unexplained": share} for share in (0.1, 0.3, 0.9)])
    found = better_pca(beside_pca(study, 0.2))
    assert found is not None
    assert found == pytest.approx((0.3, 0.2))
    assert better_pca(beside_pca(study, 0.3)) is None
    assert better_pca(study) is None


def test_where_the_error_still_falls_it_is_trained_for_longer(ill: Ill) -> None:
    (advice,) = surpass_pca(beside_pca(ill(seeds=[{}] * 8), 0.2))
    before, after = (sum(1 / epoch for epoch in epochs) for epochs in (range(11, 16), range(16, 21)))
    assert advice.action == "Train for 40 epochs"
    assert f"whose error still fell by {100 * (1 - after / before):.0f} %" in advice.reason
    assert tomllib.loads(advice.code) == {"training": {"epochs": 40}}


def test_where_it_has_stopped_falling_the_model_is_made_larger(ill: Ill) -> None:
    study = beside_pca(ill(seeds=[{"plateau": 0.5}] * 8), 0.2)
    (advice,) = surpass_pca(study)
    assert advice.action == "Use a larger model"
    assert tomllib.loads(advice.code) == {"model": {"hidden": [64]}}
    actions = [one.action for one in advise(study, summarize(study))]
    assert actions[0].startswith("Use the settings of trial"), "they are proven all the same"
    assert "Use a larger model" in actions


def test_a_model_that_overfits_is_not_made_larger(ill: Ill) -> None:
    assert surpass_pca(beside_pca(ill(seeds=[{"plateau": 0.5, "gap": 0.8}] * 8), 0.2)) == ()


def test_of_a_training_too_short_to_tell_nothing_is_advised(ill: Ill) -> None:
    study = beside_pca(ill(seeds=[{}] * 8, gates={"window": 11}), 0.2)
    assert surpass_pca(study) == ()
