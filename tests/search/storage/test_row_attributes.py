"""Rows as Optuna's trials, without a storage."""

import numpy as np
import optuna
from optuna.distributions import FloatDistribution
from optuna.trial import FrozenTrial, TrialState

from klsearch.search.storage.process import this_process
from klsearch.search.storage.row_attributes import (
    VOID,
    closed_trial,
    copy_trial,
    is_row,
    is_warm_start,
    new_trial,
    owner_in,
    read_row,
)
from klsearch.search.storage.rows import EarlierTrial, NewRow, Result, Run
from klsearch.vae.diagnostics.curves import CURVE_NAMES, TrainingCurves
from klsearch.vae.hyperparameters import Hyperparameters

PARAMS, RANGES = {"kl_weight": 0.25}, {"kl_weight": FloatDistribution(0.1, 1.0)}
RUN = Run(hyperparameters=Hyperparameters(kl_weight=0.25), seed=7, label="search")
RESULT = Result(
    curves=TrainingCurves.from_rows(np.ones((3, len(CURVE_NAMES)), np.float32)), measures={}, seconds=0.5
)  # fmt: skip


def running() -> FrozenTrial:
    return new_trial(NewRow(run=RUN, params=PARAMS, distributions=RANGES), this_process(), "course")


def finished() -> FrozenTrial:
    """The row once it is closed: its own attributes, and what its training adds."""
    closed = closed_trial(RESULT, score=0.5, constraints={"band": -1.0}, pruned=False)
    closed.user_attrs = {**running().user_attrs, **closed.user_attrs}
    return closed


def test_a_running_row_names_its_training_and_who_trains_it() -> None:
    row = read_row(running(), {this_process(): {"-1": {"epoch": 3.0}}}, {}, with_result=True)
    assert (row.run, row.owner, row.course) == (RUN, this_process(), "course")
    assert (row.state, row.result, row.ended, row.error) == (TrialState.RUNNING, None, None, "")
    assert owner_in(running().user_attrs) == (this_process(), "course")


def test_two_rows_of_one_training_are_told_apart_by_their_first_attribute() -> None:
    first, second = (next(iter(running().user_attrs.items())) for _ in range(2))
    assert first[0] == second[0]
    assert first[1] != second[1]


def test_a_closed_row_holds_its_result_and_its_score() -> None:
    row = read_row(finished(), {}, {}, with_result=True)
    assert row.result is not None
    assert row.result.curves.as_rows().tobytes() == RESULT.curves.as_rows().tobytes()
    assert (row.score, row.result.seconds, row.warm_start) == (0.5, 0.5, False)
    assert read_row(finished(), {}, {}, with_result=False).result is None


def test_what_was_ended_early_is_ranked_by_where_it_ended() -> None:
    ended = closed_trial(RESULT, score=0.5, constraints={}, pruned=True)
    assert (ended.state, ended.intermediate_values) == (TrialState.PRUNED, {3: 0.5})


def test_a_trial_of_an_earlier_study_is_copied_with_where_it_comes_from() -> None:
    earlier = EarlierTrial(
        row=read_row(finished(), {}, {}, with_result=True),
        origin="trial 3 of before",
        score=0.75,
        params=PARAMS,
        distributions=RANGES,
        constraints={"band": -1.0},
    )
    copied = copy_trial(earlier)
    assert is_warm_start(copied)
    assert not is_warm_start(finished())
    row = read_row(copied, {}, {}, with_result=True)
    assert (row.run.label, row.score, row.warm_start) == ("trial 3 of before", 0.75, True)


def test_a_failed_row_says_whether_we_closed_it_ourselves() -> None:
    failed = running()
    failed.state = TrialState.FAIL
    assert (read_row(failed, {}, {}, with_result=True).error, failed.user_attrs.get(VOID)) == (
        "marked as failed from outside",
        None,
    )
    failed.user_attrs = {**failed.user_attrs, VOID: "void, never trained"}
    row = read_row(failed, {}, {}, with_result=True)
    assert (row.is_void, row.error) == (True, "void, never trained")


def test_a_trial_of_another_program_is_no_row() -> None:
    assert is_row(running())
    assert not is_row(optuna.trial.create_trial(value=1.0))
