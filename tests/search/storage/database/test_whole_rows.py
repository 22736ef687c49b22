"""Rows made and closed whole are to Optuna what it writes itself."""

import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import FloatDistribution, IntDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.storage.database import whole_rows
from klsearch.search.storage.database.patience import engine_of
from klsearch.search.storage.database.whole_rows import close_trial, create_trials
from klsearch.search.storage.opening import open_storage

DISTRIBUTIONS = {"kl_weight": FloatDistribution(1e-4, 1.0, log=True), "depth": IntDistribution(1, 5)}


@pytest.fixture(params=["journal", "postgres"])
def storage(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BaseStorage]:
    is_server = request.param == "postgres"
    url = request.getfixturevalue("postgres") if is_server else f"journal:///{tmp_path / 'journal'}"
    with open_storage(url, create=True) as storage:
        yield storage


@pytest.fixture
def study_id(storage: BaseStorage) -> int:
    return storage.create_new_study([StudyDirection.MINIMIZE], uuid.uuid4().hex)


def running(token: str, kl_weight: float = 0.1) -> FrozenTrial:
    return create_trial(
        state=TrialState.RUNNING,
        params={"kl_weight": kl_weight, "depth": 3},
        distributions=DISTRIBUTIONS,
        user_attrs={"run": {"token": token, "label": "é"}, "owner": "me"},
    )


def closed(value: float = 0.25, *, pruned: bool = False) -> FrozenTrial:
    return create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=value,
        intermediate_values={7: value} if pruned else {},
        user_attrs={"result": {"curves": [1.5, None]}},
        constraints={"band": 0.5, "collapse": -1.0},
    )


def essence(trial: FrozenTrial) -> dict[str, Any]:
    kept = ("number", "state", "values", "params", "distributions", "user_attrs", "system_attrs", "intermediate_values")
    assert trial.datetime_start is not None
    assert (trial.datetime_complete is not None) == trial.state.is_finished()
    return {name: getattr(trial, name) for name in kept}


def is_mine(attributes: Any) -> bool:
    return bool(attributes["owner"] == "me")


@pytest.mark.parametrize("pruned", [False, True])
def test_they_are_read_as_what_optuna_writes_itself(storage: BaseStorage, study_id: int, pruned: bool) -> None:
    made = create_trials(storage, study_id, [running("a"), running("b", 1 / 3)])
    assert [number for _, number in made] == [0, 1]
    assert close_trial(storage, made[1][0], closed(1e9, pruned=pruned), is_still=is_mine)
    theirs = storage.create_new_study([StudyDirection.MINIMIZE], uuid.uuid4().hex)
    storage.create_new_trial(theirs, running("a"))
    end = closed(1e9, pruned=pruned)
    whole = running("b", 1 / 3)
    whole.state, whole.values, whole.datetime_complete = end.state, end.values, end.datetime_complete
    whole.user_attrs |= end.user_attrs
    whole.system_attrs |= end.system_attrs
    whole.intermediate_values = end.intermediate_values
    storage.create_new_trial(theirs, whole)
    ours = storage.get_all_trials(study_id)
    assert [essence(trial) for trial in ours] == [essence(trial) for trial in storage.get_all_trials(theirs)]
    assert ours[1].constraints == {"band": 0.5, "collapse": -1.0}


def test_rows_follow_those_that_are_there(storage: BaseStorage, study_id: int) -> None:
    storage.create_new_trial(study_id)
    made = create_trials(storage, study_id, [running("a"), running("b")])
    assert [number for _, number in made] == [1, 2]
    assert storage.get_trial_number_from_id(storage.create_new_trial(study_id)) == 3
    assert [trial.number for trial in storage.get_all_trials(study_id)] == [0, 1, 2, 3]


def test_a_row_is_closed_once_and_by_its_owner_alone(storage: BaseStorage, study_id: int) -> None:
    ((row, _),) = create_trials(storage, study_id, [running("a")])
    assert not close_trial(storage, row, closed(), is_still=lambda attributes: False)
    assert storage.get_trial(row).state is TrialState.RUNNING
    assert close_trial(storage, row, closed(0.1), is_still=is_mine)
    assert not close_trial(storage, row, closed(0.2), is_still=is_mine)
    assert storage.get_trial(row).value == 0.1


def test_what_a_row_holds_of_an_earlier_try_is_replaced(storage: BaseStorage, study_id: int) -> None:
    ((row, _),) = create_trials(storage, study_id, [running("a")])
    storage.set_trial_user_attr(row, "result", {"curves": "cut off"})
    storage.set_trial_intermediate_value(row, 7, 99.0)
    assert close_trial(storage, row, closed(pruned=True), is_still=is_mine)
    trial = storage.get_trial(row)
    assert trial.user_attrs["result"] == {"curves": [1.5, None]}
    assert trial.intermediate_values == {7: 0.25}


def test_whoever_lost_the_answer_finds_its_rows_made_and_closed(postgres: str) -> None:
    with open_storage(postgres, create=True) as storage:
        engine = engine_of(storage)
        assert engine is not None
        study_id = storage.create_new_study([StudyDirection.MINIMIZE], uuid.uuid4().hex)
        templates = [running("a"), running("b")]
        made = create_trials(storage, study_id, templates)
        assert whole_rows._create(engine, study_id, templates, again=True) == made
        assert whole_rows._create(engine, study_id, [running("c")], again=True)[0][1] == 2
        end = closed()
        assert close_trial(storage, made[0][0], end, is_still=is_mine)
        assert whole_rows._close(engine, made[0][0], end, is_mine, again=True)
        others = closed()
        others.user_attrs["result"] = {"curves": [2.5]}
        assert not whole_rows._close(engine, made[0][0], others, is_mine, again=True), "another's result stands there"
