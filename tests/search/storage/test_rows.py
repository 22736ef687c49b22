"""A training's settings, its result, and the row that holds both."""

import itertools
import json
import math
from collections.abc import Callable
from datetime import UTC, datetime
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st
from optuna.trial import TrialState

from klsearch.search.storage.process import this_process
from klsearch.search.storage.rows import Result, Row, Run, one_of_each, trial_label, trial_number
from klsearch.studies.definitions.sections import Method
from klsearch.vae.hyperparameters import BEFORE, Hyperparameters

COMPLETE, FAIL, RUNNING = TrialState.COMPLETE, TrialState.FAIL, TrialState.RUNNING
DONE = Result(curves=None, measures={}, seconds=0.0)  # type: ignore[arg-type]  # nobody looks into it here


@given(st.integers(min_value=0))
def test_the_label_of_a_trial_names_its_number(number: int) -> None:
    assert trial_number(trial_label(number)) == number


@pytest.mark.parametrize("label", ["before", "search", "trials", "trial", "my trial 3", ""])
def test_what_is_no_label_of_a_trial_names_none(label: str) -> None:
    assert trial_number(label) is None


@pytest.mark.parametrize("method", [None, *get_args(Method)])
def test_a_run_comes_back_from_json_with_its_missing_bounds_and_its_method(method: Method | None) -> None:
    settings = Hyperparameters(kl_weight=1 / 3, clip_low=-math.inf, clip_high=2.0, annealing_epochs=4)
    run = Run(hyperparameters=settings, seed=2**31 - 1, label="größe", method=method)
    assert Run.from_json(json.loads(json.dumps(run.as_json(), allow_nan=False))) == run


def test_a_run_without_a_method_is_written_as_the_first_release_wrote_it() -> None:
    assert set(Run(hyperparameters=BEFORE, seed=1, label="search").as_json()) == {"hyperparameters", "seed", "label"}


def test_a_result_is_json_even_where_it_diverged_and_its_time_is_kept_to_a_microsecond(
    make_result: Callable[..., Result],
) -> None:
    values = make_result([math.nan], diverged=True, seconds=1 / 3).as_json()
    assert json.loads(json.dumps(values, allow_nan=False))["measures"] == {}
    assert values["seconds"] == 0.333333


def row_of(number: int, state: TrialState, *, label: str = "trial 1", seed: int = 7) -> Row:
    return Row(
        number=number,
        state=state,
        run=Run(hyperparameters=BEFORE, seed=seed, label=label),
        owner=this_process(),
        course="",
        result=DONE if state is COMPLETE else None,
        score=math.nan,
        error="",
        progress={},
        started=datetime.now(UTC),
        ended=None,
    )


@pytest.mark.parametrize(
    ("rows", "chosen"),
    [
        ([], []),
        ([row_of(0, RUNNING), row_of(1, COMPLETE)], [1]),  # a finished one
        ([row_of(0, COMPLETE), row_of(1, COMPLETE)], [0]),  # of two the earlier
        ([row_of(0, FAIL), row_of(1, RUNNING)], [1]),  # else one that did not fail
        ([row_of(0, RUNNING), row_of(1, RUNNING)], [0]),
        ([row_of(0, FAIL), row_of(1, FAIL)], [0]),  # that there was one is not forgotten
        ([row_of(0, COMPLETE), row_of(1, COMPLETE, seed=8), row_of(2, COMPLETE, label="before")], [0, 1, 2]),
        ([row_of(0, RUNNING), row_of(1, COMPLETE, seed=8), row_of(2, COMPLETE)], [1, 2]),
        ([row_of(0, RUNNING), row_of(1, COMPLETE, seed=8)], [0, 1]),  # in ascending number, whatever they say
    ],
)
def test_of_the_rows_of_one_run_the_one_that_says_most_counts(rows: list[Row], chosen: list[int]) -> None:
    for shuffled in itertools.permutations(rows):
        assert [one.number for one in one_of_each(shuffled)] == chosen
