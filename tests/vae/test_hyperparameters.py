"""One member's settings: what is refused, and how they are written."""

import json
import math
from dataclasses import replace
from typing import Any

import pytest

from klsearch.vae.hyperparameters import AFTER, BEFORE, CHOICES, NAMES, RULES, Hyperparameters, shown_names


def test_the_recipe_goes_from_a_free_model_to_a_clipped_and_regularised_one() -> None:
    assert (BEFORE.kl_weight, BEFORE.annealing_epochs, BEFORE.l2, BEFORE.encoder_dropout) == (1e-3, 5, 0, 0)
    assert (BEFORE.clip_low, BEFORE.clip_high) == (-math.inf, math.inf)
    assert (AFTER.kl_weight, AFTER.annealing_epochs, AFTER.l2, AFTER.encoder_dropout) == (1e-4, 10, 1e-4, 0)
    assert (AFTER.clip_low, AFTER.clip_high) == (-20, 2)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"kl_weight": -1e-3}, "kl_weight must be finite and at least 0, but is -0.001."),
        ({"kl_weight": math.inf}, "kl_weight must be finite and at least 0, but is inf."),
        ({"kl_weight": math.nan}, "kl_weight must be a number, but is NaN."),
        ({"clip_low": 2.0, "clip_high": 2.0}, "clip_low must lie below clip_high, but 2.0 >= 2.0."),
        ({"clip_high": math.nan}, "clip_high must be a number, but is NaN."),
        ({"annealing_epochs": -1}, "annealing_epochs must be finite and at least 0, but is -1."),
        ({"annealing_epochs": 2.5}, "annealing_epochs must be a whole number, but is 2.5."),
        ({"l2": -1.0}, "l2 must be finite and at least 0, but is -1.0."),
        ({"encoder_dropout": 1.0}, "encoder_dropout must be at least 0 and below 1, but is 1.0."),
        ({"encoder_dropout": -0.1}, "encoder_dropout must be at least 0 and below 1, but is -0.1."),
        ({"learning_rate": 0.0}, "learning_rate must be finite and above 0, but is 0.0."),
        ({"learning_rate": math.inf}, "learning_rate must be finite and above 0, but is inf."),
        ({"clipnorm": 0.0}, "clipnorm must be above 0, but is 0.0."),
        ({"clipnorm": -math.inf}, "clipnorm must be above 0, but is -inf."),
        (
            {"kl_schedule": "cosin"},
            "kl_schedule must be one of 'linear', 'cosine', 'sigmoid', 'cyclical', but is 'cosin'.",
        ),
    ],
)
def test_settings_that_cannot_be_trained_with_are_refused_by_name(changed: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError) as refused:
        Hyperparameters(**{"kl_weight": 0.1, **changed})
    assert str(refused.value) == message


@pytest.mark.parametrize(
    "settings",
    [
        BEFORE,
        AFTER,
        Hyperparameters(kl_weight=0.5, clip_low=-3.5, clipnorm=1.0),
        Hyperparameters(kl_weight=0.5, kl_schedule="cosine"),
    ],
)
def test_settings_survive_a_round_trip_through_json(settings: Hyperparameters) -> None:
    written = json.dumps(settings.as_json(), allow_nan=False)
    assert Hyperparameters.from_json(json.loads(written)) == settings


def test_bounds_that_are_absent_are_written_as_null() -> None:
    values = BEFORE.as_json()
    assert tuple(values) == NAMES
    assert [name for name, value in values.items() if value is None] == ["clip_low", "clip_high", "clipnorm"]


@pytest.mark.parametrize("name", NAMES)
def test_every_hyperparameter_says_what_it_means_and_is_off_where_its_rule_allows(name: str) -> None:
    rule = RULES[name]
    assert rule.meaning
    assert rule.allows(getattr(BEFORE, name))


@pytest.mark.parametrize("name", CHOICES)
def test_a_choice_says_what_it_means_and_is_written_and_shown_where_it_is_a_member_s_own(name: str) -> None:
    choice = CHOICES[name]
    assert choice.meaning
    for option in choice.options:
        own = replace(BEFORE, **{name: option})  # type: ignore[arg-type] # whichever it is
        assert own.as_json()[name] == option
        assert name in shown_names([BEFORE, own])
    assert name not in BEFORE.as_json()
    assert name not in shown_names([BEFORE, AFTER])
