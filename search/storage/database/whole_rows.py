"""Rows made and closed whole: on PostgreSQL in one transaction of a few statements, where Optuna takes dozens.

Rows of a study are numbered in the order in which they come, as Optuna numbers them: it too holds the study's own row
while it makes one. What is written here, Optuna reads as if it had written it; a test compares.
"""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from optuna.distributions import distribution_to_json
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.storages._rdb.models import (
    StudyModel,
    TrialIntermediateValueModel,
    TrialModel,
    TrialParamModel,
    TrialSystemAttributeModel,
    TrialUserAttributeModel,
    TrialValueModel,
)
from optuna.trial import FrozenTrial, TrialState
from sqlalchemy import Connection, Engine, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as insert_or_update

from klsearch.search.storage.database.patience import call_patiently, engine_of


def create_trials(storage: BaseStorage, study_id: int, templates: Sequence[FrozenTrial]) -> list[tuple[int, int]]:
    """Make running rows, which follow each other; each one's id and number.

    Args:
        storage: where.
        study_id: the study's, in it.
        templates: the rows; the first attribute of each is its own alone, and tells it where an answer was lost.
    """
    engine = engine_of(storage)
    if engine is None:
        ids = [storage.create_new_trial(study_id, template_trial=template) for template in templates]
        return [(trial_id, storage.get_trial_number_from_id(trial_id)) for trial_id in ids]
    make = partial(_create, engine, study_id, templates)
    return call_patiently(storage, make, partial(make, again=True))


def close_trial(
    storage: BaseStorage, trial_id: int, closed: FrozenTrial, *, is_still: Callable[[Mapping[str, Any]], bool]
) -> bool:
    """Write the last of a running row and close it; whether it was running, and has been closed by this.

    Args:
        storage: where.
        trial_id: the row's.
        closed: its state and value, and what is added to it.
        is_still: tells by the row's attributes whether it may be.
    """
    engine = engine_of(storage)
    if engine is not None:
        close = partial(_close, engine, trial_id, closed, is_still)
        return call_patiently(storage, close, partial(close, again=True))
    if not is_still(storage.get_trial(trial_id).user_attrs):
        return False
    try:  # a row cut off in between is running still
        for key, value in closed.user_attrs.items():
            storage.set_trial_user_attr(trial_id, key, value)
        for key, value in closed.system_attrs.items():
            storage.set_trial_system_attr(trial_id, key, value)
        for step, value in closed.intermediate_values.items():
            storage.set_trial_intermediate_value(trial_id, step, value)
        storage.set_trial_state_values(trial_id, closed.state, closed.values)
    except UpdateFinishedTrialError:
        return False
    return True


def _create(
    engine: Engine, study_id: int, templates: Sequence[FrozenTrial], *, again: bool = False
) -> list[tuple[int, int]]:
    with engine.begin() as connection:
        connection.execute(select(StudyModel.study_id).where(StudyModel.study_id == study_id).with_for_update())
        if again and (found := _find(connection, study_id, templates)):
            return found
        count = connection.execute(select(func.count()).where(TrialModel.study_id == study_id)).scalar_one()
        numbers = range(count, count + len(templates))
        rows = [
            {"number": n, "study_id": study_id, "state": TrialState.RUNNING, "datetime_start": template.datetime_start}
            for n, template in zip(numbers, templates, strict=True)
        ]
        made = insert(TrialModel).returning(TrialModel.trial_id, sort_by_parameter_order=True)
        ids = list(connection.scalars(made, rows))
        params = [
            {
                "trial_id": trial_id,
                "param_name": name,
                "param_value": template.distributions[name].to_internal_repr(value),
                "distribution_json": distribution_to_json(template.distributions[name]),
            }
            for trial_id, template in zip(ids, templates, strict=True)
            for name, value in template.params.items()
        ]
        if params:
            connection.execute(insert(TrialParamModel), params)
        attributes = [
            attribute
            for trial_id, template in zip(ids, templates, strict=True)
            for attribute in _attributes(trial_id, template.user_attrs)
        ]
        connection.execute(insert(TrialUserAttributeModel), attributes)
        return list(zip(ids, numbers, strict=True))


def _find(connection: Connection, study_id: int, templates: Sequence[FrozenTrial]) -> list[tuple[int, int]]:
    """The rows that were made of these when the answer was lost; none if they were not: all or none are."""
    ((key, _), *_rest) = templates[0].user_attrs.items()
    told = [json.dumps(template.user_attrs[key]) for template in templates]
    found = connection.execute(
        select(TrialModel.trial_id, TrialModel.number)
        .join(TrialUserAttributeModel, TrialUserAttributeModel.trial_id == TrialModel.trial_id)
        .where(TrialModel.study_id == study_id, TrialUserAttributeModel.key == key)
        .where(TrialUserAttributeModel.value_json.in_(told))
        .order_by(TrialModel.number)
    )
    return [(trial_id, number) for trial_id, number in found]


def _close(
    engine: Engine,
    trial_id: int,
    closed: FrozenTrial,
    is_still: Callable[[Mapping[str, Any]], bool],
    *,
    again: bool = False,
) -> bool:
    with engine.begin() as connection:
        row = select(TrialModel.state).where(TrialModel.trial_id == trial_id).with_for_update()
        state = connection.execute(row).scalar_one()
        written = select(TrialUserAttributeModel.key, TrialUserAttributeModel.value_json)
        found = connection.execute(written.where(TrialUserAttributeModel.trial_id == trial_id))
        known = {key: value for key, value in found}
        if state is not TrialState.RUNNING:
            ours = {key: json.dumps(value) for key, value in closed.user_attrs.items()}
            return again and state is closed.state and ours.items() <= known.items()
        if not is_still({key: json.loads(value) for key, value in known.items()}):
            return False
        _put(connection, TrialUserAttributeModel, "key", _attributes(trial_id, closed.user_attrs))
        _put(connection, TrialSystemAttributeModel, "key", _attributes(trial_id, closed.system_attrs))
        reached = [
            {"trial_id": trial_id, "step": step, "intermediate_value": value, "intermediate_value_type": kind}
            for step, (value, kind) in (
                (step, TrialIntermediateValueModel.intermediate_value_to_stored_repr(value))
                for step, value in closed.intermediate_values.items()
            )
        ]
        _put(connection, TrialIntermediateValueModel, "step", reached)
        assert closed.value is not None
        value, kind = TrialValueModel.value_to_stored_repr(closed.value)
        scored = {"trial_id": trial_id, "objective": 0, "value": value, "value_type": kind}
        _put(connection, TrialValueModel, "objective", [scored])
        ended = update(TrialModel).where(TrialModel.trial_id == trial_id)
        connection.execute(ended.values(state=closed.state, datetime_complete=datetime.now()))
        return True


def _attributes(trial_id: int, values: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [{"trial_id": trial_id, "key": key, "value_json": json.dumps(value)} for key, value in values.items()]


def _put(connection: Connection, model: type[Any], by: str, rows: list[dict[str, Any]]) -> None:
    """Add these to a row of the study, in place of what it holds by the same key."""
    if rows:
        statement = insert_or_update(model).values(rows)
        changed = {name: statement.excluded[name] for name in rows[0] if name not in {"trial_id", by}}
        connection.execute(statement.on_conflict_do_update(index_elements=["trial_id", by], set_=changed))
