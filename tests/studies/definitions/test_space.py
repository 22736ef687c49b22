"""The search space: what is searched, what is fixed, and which ranges can be searched."""

import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from klsearch.studies.definitions.space import IntegerRange, Range, Space, highest_of, lowest_of
from klsearch.vae.hyperparameters import NAMES

OnlyProblem = Callable[[str, str], str]
Problems = Callable[[str], list[str]]

SEARCHED = {
    "l2": {"low": 1e-6, "high": 1e-2, "log": True},
    "kl_weight": {"low": 1e-4, "high": 1.0, "log": True},
    "annealing_epochs": {"low": 0, "high": 20},
    "clip_high": 2,
}


def make_space(**entries: Any) -> Space:
    """The space of a table `[space]`, of which these entries replace or join its own."""
    made: Space = Space.model_validate(SEARCHED | entries)
    return made


def problems_of_space(**entries: Any) -> dict[tuple[str | int, ...], str]:
    """What is wrong with the space, by the path of each key."""
    with pytest.raises(ValidationError) as refused:
        make_space(**entries)
    return {error["loc"]: error["msg"] for error in refused.value.errors()}


def test_what_is_searched_comes_in_the_order_of_the_hyperparameters() -> None:
    searched = make_space().searched()
    assert list(searched) == ["kl_weight", "annealing_epochs", "l2"]
    assert searched["kl_weight"] == Range(low=1e-4, high=1.0, log=True)


def test_only_annealing_epochs_are_searched_in_whole_numbers() -> None:
    assert [name for name, one in make_space().searched().items() if one.integer] == ["annealing_epochs"]


def test_hyperparameters_left_out_are_off() -> None:
    assert make_space().fixed() == {"clip_low": -math.inf, "clip_high": 2.0, "encoder_dropout": 0.0, "free_bits": 0.0}


def test_no_clipping_can_be_written_as_infinity() -> None:
    fixed = make_space(clip_low=-math.inf, clip_high=math.inf).fixed()
    assert (fixed["clip_low"], fixed["clip_high"]) == (-math.inf, math.inf)


@given(st.sampled_from(NAMES), st.floats(0.001, 0.5), st.floats(0.001, 0.4))
def test_every_range_is_searched_and_none_is_fixed(name: str, low: float, width: float) -> None:
    whole = name == "annealing_epochs"
    bounds = {"low": 1, "high": 2} if whole else {"low": low, "high": low + width}
    made = make_space(**{"clip_high": 9.0, name: bounds})
    assert name in made.searched()
    assert not made.searched().keys() & made.fixed().keys()
    assert made.searched().keys() | made.fixed().keys() >= set(NAMES) - {"learning_rate", "clipnorm"}


def test_clip_bounds_that_can_cross_anywhere_in_the_space_are_refused(only_problem: OnlyProblem) -> None:
    problem = only_problem("clip_high = 2", "clip_high = { low = -5, high = 2 }")
    assert problem.startswith("my.toml:14: space.clip_low: must lie below clip_high everywhere")
    assert problem.endswith("but reaches -4 where clip_high can be -5")


def test_a_space_in_which_nothing_is_searched_is_refused(good: str, problems: Problems) -> None:
    head, _ = good.split("[space]")
    assert problems(f"{head}[space]\nkl_weight = 0.1\nl2 = 1e-4\n") == [
        "my.toml:12: space: nothing is searched; give at least one hyperparameter a range {low = …, high = …}"
    ]


@pytest.mark.parametrize("name", ["learning_rate", "clipnorm"])
def test_what_training_decides_stands_in_the_space_only_to_be_searched(name: str) -> None:
    assert name not in make_space().searched() | make_space().fixed()
    assert name in make_space(**{name: {"low": 1e-4, "high": 1e-2}}).searched()
    assert list(problems_of_space(**{name: 1e-3})) == [(name,)]


@pytest.mark.parametrize(
    ("name", "value", "path", "words"),
    [
        ("l2", {"low": 0.0, "high": 0.1, "log": True}, "<range>", "a log range must start above 0, but low is 0.0"),
        ("l2", {"low": 0.1, "high": 0.1}, "<range>", "low must lie below high, but 0.1 >= 0.1"),
        ("encoder_dropout", {"low": 0.0, "high": 1.0}, None, "high must be at least 0 and below 1, but is 1.0"),
        ("encoder_dropout", {"low": -0.1, "high": 0.5}, None, "low must be at least 0 and below 1, but is -0.1"),
        ("learning_rate", {"low": 0.0, "high": 0.1}, None, "low must be above 0, but is 0.0"),
        ("kl_weight", -1.0, None, "must be at least 0, but is -1.0"),
        ("clip_high", math.nan, "<number>", "must be a number, but is nan"),
    ],
)
def test_both_ends_of_a_range_keep_its_hyperparameter_s_rule(
    name: str, value: Any, path: str | None, words: str
) -> None:
    assert problems_of_space(**{name: value}) == {(name,) if path is None else (name, path): words}


@pytest.mark.parametrize("value", ["0.1", True, [0.1], None])
def test_nothing_is_converted_to_a_number(value: Any) -> None:
    assert {path[0] for path in problems_of_space(kl_weight=value)} == {"kl_weight"}


def test_a_range_too_wide_for_floating_point_is_refused_but_on_a_log_scale() -> None:
    assert Range(low=1e-300, high=1e308, log=True).high == 1e308
    with pytest.raises(ValidationError, match="too far apart"):
        Range(low=-1e308, high=1e308)


def test_a_whole_range_holds_whole_numbers() -> None:
    found = make_space().annealing_epochs
    assert isinstance(found, IntegerRange) and found.integer
    assert list(problems_of_space(annealing_epochs={"low": 0, "high": 2.5})) == [
        ("annealing_epochs", "<range>", "high")
    ]
    assert list(problems_of_space(annealing_epochs=2.5)) == [("annealing_epochs", "<number>")]


@pytest.mark.parametrize(
    ("low", "high", "cross"),
    [
        (-4.0, 2.0, False),
        (2.0, 2.0, True),
        ({"low": -9.0, "high": 1.9}, 2.0, False),
        ({"low": -9.0, "high": 2.0}, 2.0, True),
        (-4.0, {"low": -4.0, "high": 9.0}, True),
        ({"low": -9.0, "high": -4.0}, {"low": -3.9, "high": 9.0}, False),
        (-math.inf, math.inf, False),
        (math.inf, 2.0, True),
    ],
)
def test_clip_bounds_must_not_meet_wherever_each_may_lie(low: Any, high: Any, cross: bool) -> None:
    if cross:
        assert list(problems_of_space(clip_low=low, clip_high=high)) == [("clip_low",)]
    else:
        assert make_space(clip_low=low, clip_high=high)


def test_a_fixed_number_is_its_own_highest_and_lowest() -> None:
    assert (lowest_of(Range(low=1.0, high=3.0)), highest_of(Range(low=1.0, high=3.0))) == (1.0, 3.0)
    assert lowest_of(2.0) == highest_of(2.0) == 2.0


def test_names_to_choose_from_are_searched_beside_the_ranges() -> None:
    chosen = make_space(kl_schedule=["cosine", "linear"])
    assert chosen.choices() == {"kl_schedule": ("cosine", "linear")}
    assert list(chosen.sampled()) == ["kl_weight", "annealing_epochs", "l2", "kl_schedule"]
    assert list(chosen.searched()) == ["kl_weight", "annealing_epochs", "l2"]
    assert make_space().choices() == {}


@pytest.mark.parametrize(
    ("written", "said"),
    [
        (["linear", "cosin"], "must hold some of 'linear', 'cosine', 'sigmoid', 'cyclical', but holds 'cosin', did you "
         "mean 'cosine'?"),
        (["linear"], "must hold at least two names, each once; one for all trials belongs in [training]"),
        (["linear", "linear"], "must hold at least two names, each once; one for all trials belongs in [training]"),
        ("linear", "must be an array of names to choose from; 'linear' for all trials belongs in [training]"),
        ({"low": 0, "high": 1}, 'must be an array of names to choose from, such as ["linear", "cosine"]'),
    ],
)  # fmt: skip
def test_what_is_no_choice_is_refused_in_one_line_with_the_way_out(written: Any, said: str) -> None:
    assert problems_of_space(kl_schedule=written) == {("kl_schedule",): said}


@pytest.mark.parametrize("annealing", [0, None])
def test_a_schedule_of_no_epochs_cannot_be_chosen(annealing: int | None) -> None:
    entries = {"annealing_epochs": annealing} if annealing is not None else {}
    with pytest.raises(ValidationError, match="has no effect without annealing; give annealing_epochs a range"):
        Space.model_validate({"kl_weight": SEARCHED["kl_weight"], "kl_schedule": ["linear", "cosine"], **entries})
