"""Which known settings lie inside a search space."""

import math
from dataclasses import replace
from typing import Any

import pytest

from klsearch.studies.definitions.baselines import baselines_inside, misfits
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.vae.hyperparameters import AFTER, BEFORE

RECIPE = {  # a space that holds both of the recipe's settings
    "kl_weight": {"low": 1e-4, "high": 1e-3, "log": True},
    "clip_low": {"low": -20.0, "high": -4.0},
    "clip_high": {"low": 1.0, "high": 4.0},
    "annealing_epochs": {"low": 5, "high": 10},
    "l2": {"low": 0.0, "high": 1e-4},
}


def define(space: dict[str, Any], *, epochs: int = 40, **tables: dict[str, Any]) -> StudyDefinition:
    return StudyDefinition.model_validate(
        {
            "study": {"name": "mine", "trials": 20},
            "data": {"source": "digits"},
            "model": {"kind": "dense", "hidden": [16], "latent_dim": 4},
            "training": {"epochs": epochs},
            "space": space,
            **tables,
        }
    )


@pytest.mark.parametrize(
    ("changes", "outside"),
    [
        ({}, []),  # every value of "after" lies on an end of its range, and both ends belong to it
        ({"kl_weight": 1e-4, "l2": {"low": 0.0, "high": 1.0}}, []),
        ({"kl_weight": {"low": 1.1e-4, "high": 1.0}}, ["kl_weight"]),
        ({"kl_weight": 1e-3}, ["kl_weight"]),
        ({"clip_low": -math.inf}, ["clip_low"]),
        ({"clip_high": {"low": 1.0, "high": 1.9}, "annealing_epochs": 9}, ["clip_high", "annealing_epochs"]),
        ({"encoder_dropout": 0.1}, ["encoder_dropout"]),
        ({"encoder_dropout": {"low": 0.0, "high": 0.1}}, []),
        ({"learning_rate": {"low": 2e-3, "high": 1.0}}, ["learning_rate"]),
    ],
)
def test_settings_misfit_by_what_lies_outside_its_range_or_is_not_the_fixed_number(
    changes: dict[str, Any], outside: list[str]
) -> None:
    assert misfits(define(RECIPE | changes), AFTER) == outside


def test_what_training_decides_must_be_the_same_too() -> None:
    asked = define(RECIPE)
    assert misfits(asked, replace(AFTER, learning_rate=2e-3)) == ["learning_rate"]
    assert misfits(asked, replace(AFTER, clipnorm=1.0)) == ["clipnorm"]


def test_a_baseline_inside_is_told_by_its_searched_values_in_their_order() -> None:
    ((name, values),) = baselines_inside(define(RECIPE))
    assert name == "after"
    assert list(values.items()) == [
        ("kl_weight", 1e-4),
        ("clip_low", -20.0),
        ("clip_high", 2.0),
        ("annealing_epochs", 10),
        ("l2", 1e-4),
    ]


def test_the_recipe_comes_before_the_user_s_own() -> None:
    weights = {"mine": 0.5, "wide": 5.0, "other": 0.1}
    mine = {name: {"kl_weight": weight, "annealing_epochs": 5} for name, weight in weights.items()}
    space = {"kl_weight": {"low": 1e-3, "high": 1.0, "log": True}, "annealing_epochs": BEFORE.annealing_epochs}
    found = baselines_inside(define(space, baselines=mine))
    assert found == [("before", {"kl_weight": 1e-3}), ("mine", {"kl_weight": 0.5}), ("other", {"kl_weight": 0.1})]


def test_a_training_shorter_than_the_window_has_its_baselines_inside_all_the_same() -> None:
    """Two epochs and a window of five leave room for no annealing, which is what this baseline and the space ask."""
    space = {"kl_weight": {"low": 1e-3, "high": 1.0}}
    asked = define(space, epochs=2, baselines={"mine": {"kl_weight": 0.5, "annealing_epochs": 0}})
    assert baselines_inside(asked) == [("mine", {"kl_weight": 0.5})]


@pytest.mark.parametrize("method", ["beta1", "sigma", "control"])
def test_a_method_is_no_settings_to_search_around(method: str) -> None:
    space = {"kl_weight": {"low": 1e-3, "high": 10.0}, "annealing_epochs": {"low": 0, "high": 5}}
    asked = define(space, baselines={"rival": {"method": method}}).settle(shape=(64,), kl_band=None)
    assert misfits(asked, asked.baseline_hyperparameters()["rival"]) == []
    assert [name for name, _ in baselines_inside(asked)] == ["before"]


def test_a_choice_fits_where_it_can_be_chosen_and_one_of_one_s_own_only_there() -> None:
    chosen = define(RECIPE | {"kl_schedule": ["linear", "cosine"]})
    assert misfits(chosen, replace(AFTER, kl_schedule="cosine")) == []
    assert misfits(chosen, replace(AFTER, kl_schedule="sigmoid")) == ["kl_schedule"]
    assert misfits(define(RECIPE), replace(AFTER, kl_schedule="cosine")) == ["kl_schedule"]
    inside = dict(baselines_inside(chosen))
    assert [values["kl_schedule"] for values in inside.values()] == ["linear"] * len(inside) != []
