"""The ladder: which settings its rungs have, and what trials by hand say of the band."""

import math
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.ladder import Ladder, Place, closing_settings, count_rungs, rung_settings
from klsearch.studies.record import RunState, TrialRecord
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.hyperparameters import AFTER

SPACE: dict[str, Any] = {
    "kl_weight": {"low": 1e-3, "high": 1.0, "log": True},
    "clip_low": {"low": -20.0, "high": -4.0},
    "clip_high": {"low": 0.0, "high": 4.0},
    "annealing_epochs": {"low": 0, "high": 20},
    "l2": {"low": 1e-6, "high": 1e-2, "log": True},
}


def define(trials: int = 12, band: tuple[float, float] = (0.0, 5.0), **space: Any) -> StudyDefinition:
    return StudyDefinition.model_validate(
        {
            "study": {"name": "s", "trials": trials, "kl_band": band},
            "data": {"source": "digits"},
            "model": {"kind": "dense", "hidden": [16], "latent_dim": 10},
            "training": {"epochs": 60},
            "space": {**SPACE, **space},
        }
    )


def ladder_with(
    definition: StudyDefinition, kls: list[float], active: list[int] | None = None, **changes: Any
) -> Ladder:
    """The ladder of as many rungs as there are KLs; NaN is one that diverged. Two active latents are enough."""
    latent = np.ones(10)
    trials = []
    for number, settings in enumerate(rung_settings(definition, len(kls))):
        measures = Measures(
            reconstruction=1.0,
            unexplained=0.5,
            elbo=-1.0,
            active_units=(active or [10] * len(kls))[number],
            clip_share_low=0.0,
            clip_share_high=0.0,
            kl_mean_part=latent,
            kl_variance_part=latent,
            prior_mismatch=latent,
        )
        values: dict[str, Any] = {
            "state": RunState.COMPLETE,
            "kl": kls[number],
            "measures": measures if math.isfinite(kls[number]) else None,
        }
        trials.append(TrialRecord(number=number, hyperparameters=settings, seed=0, **(values | changes)))
    ladder = Ladder.of(definition, trials, len(kls))
    assert ladder is not None
    return ladder


@pytest.mark.parametrize("trials", [8, 100])
def test_a_ladder_has_six_rungs_whatever_the_budget_which_may_change(trials: int) -> None:
    assert count_rungs(define(trials)) == 6


def test_a_fixed_kl_weight_has_no_ladder() -> None:
    assert count_rungs(define(100, kl_weight=0.1)) == 0


def test_rungs_lie_evenly_over_the_range_and_are_the_recipe_else() -> None:
    rungs = rung_settings(define(), 4)
    assert [rung.kl_weight for rung in rungs] == [0.001, 0.01, 0.1, 1.0]
    assert all(rung.l2 == AFTER.l2 and rung.clip_high == AFTER.clip_high for rung in rungs)
    linear = rung_settings(define(kl_weight={"low": 0.0, "high": 1.0}), 5)
    assert [rung.kl_weight for rung in linear] == [0.0, 0.25, 0.5, 0.75, 1.0]


def test_the_recipe_is_clamped_into_the_ranges_and_fixed_numbers_stay() -> None:
    definition = define(annealing_epochs={"low": 0, "high": 5}, l2=0.5)
    rung = rung_settings(definition, 3)[0]
    assert (rung.annealing_epochs, rung.l2) == (5, 0.5)
    assert "as the recipe, as far as the space allows" in ladder_with(definition, [9.0, 4.0, 1.0]).sentence


def test_a_range_too_narrow_for_three_digits_has_fewer_rungs() -> None:
    rungs = rung_settings(define(kl_weight={"low": 0.1, "high": 0.1001}), 10)
    assert [rung.kl_weight for rung in rungs] == [0.1, 0.1001][: len(rungs)]


def test_the_closing_ladder_is_the_winner_at_five_kl_weights() -> None:
    winner = define().hyperparameters(
        {"kl_weight": 0.3, "clip_low": -6.0, "clip_high": 1.0, "annealing_epochs": 3, "l2": 1e-5}
    )
    rungs = closing_settings(define(), winner)
    assert [rung.kl_weight for rung in rungs] == [0.001, 0.00562, 0.0316, 0.178, 1.0]
    assert {replace(rung, kl_weight=0.3) for rung in rungs} == {winner}


def test_edges_are_interpolated_in_the_logarithms() -> None:
    # From 10 to 2.5 the KL halves twice on one decade of weights, so 5 lies in the middle of it.
    ladder = ladder_with(define(), [20.0, 10.0, 2.5, 1.0])
    ((low, high),) = ladder.in_band
    assert [low, high] == pytest.approx([math.sqrt(0.01 * 0.1), 1.0])
    assert ladder.sentence == "KL is in the band for KL weights 0.032 to 1 (4 trainings, all else as the recipe)."


def test_a_collapsed_model_is_never_in_the_band() -> None:
    ladder = ladder_with(define(), [20.0, 4.0, 0.5, 0.0], active=[10, 9, 1, 0])
    assert [rung.place for rung in ladder.rungs] == [Place.ABOVE, Place.IN, Place.COLLAPSED, Place.COLLAPSED]
    assert ladder.in_band[0][1] == 0.01, "no KL weight beyond the last one measured alive"


def test_all_and_none_are_said_in_words() -> None:
    assert ladder_with(define(), [4.0, 3.0, 2.0]).sentence == (
        "KL is in the band for all KL weights tried, 0.001 to 1 (3 trainings, all else as the recipe)."
    )
    none = ladder_with(define(), [20.0, 10.0, 0.0, math.nan], active=[9, 9, 0, 0])
    assert none.in_band == ()
    assert none.sentence == (
        "KL is in the band for none of the KL weights tried, 0.001 to 1 (4 trainings, all else as the recipe): "
        "above it at 0.001 to 0.01, collapsed at 0.1, diverged at 1."
    )


def test_a_ladder_under_way_claims_nothing() -> None:
    ladder = ladder_with(define(), [4.0, 3.0, 2.0], state=RunState.RUNNING)
    assert not ladder.is_whole
    assert ladder.sentence == "Of the ladder of KL weights, 0 of 3 trainings are done."


@pytest.mark.parametrize(("options", "shape"), [(["cosine", "linear"], "linear"), (["cosine", "sigmoid"], "cosine")])
def test_rungs_have_the_schedule_of_training_or_the_first_to_choose_from(options: list[str], shape: str) -> None:
    rungs = rung_settings(define(kl_schedule=options), 4)
    assert {rung.kl_schedule for rung in rungs} == {shape}
