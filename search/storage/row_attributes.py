"""The rows of a study as Optuna's trials: how their attributes are named, written and read."""

import math
import secrets
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from optuna.trial import FrozenTrial, TrialState, create_trial

from klsearch.search.storage.encoding import decode_curves, decode_measures, decode_probe
from klsearch.search.storage.process import Owner
from klsearch.search.storage.rows import FINISHED, EarlierTrial, NewRow, Result, Row, Run

# Of the study, + number of a row: Optuna lets nobody write to a closed row.
TEST = "klsearch:test:"
PROBE = "klsearch:probe:"
OWNER = "klsearch:owner"
VOID = "klsearch:void"  # why a row that we closed ourselves holds no training
_RESULT = "klsearch:result"
_RUN = "klsearch:run"
# Optuna 5.0 writes its own times without a zone, in that of the machine that writes.
_STARTED, _ENDED = "started", "ended"
_TOKEN = "token"  # of a row, by which whoever lost the answer finds that it was made
_COURSE = "course"
_WARM_START = "klsearch:warm-start"  # where a trial comes from that was trained in an earlier study


def new_trial(new: NewRow, owner: Owner, course: str) -> FrozenTrial:
    """A running row; its first attribute is its own alone."""
    return create_trial(
        state=TrialState.RUNNING,
        params=dict(new.params),
        distributions=dict(new.distributions),
        user_attrs={
            _RUN: {**new.run.as_json(), _STARTED: _now(), _TOKEN: secrets.token_hex(8)},
            OWNER: owner_values(owner, course),
        },
    )


def closed_trial(result: Result, *, score: float, constraints: Mapping[str, float], pruned: bool) -> FrozenTrial:
    """What a training adds to its row when it has ended: see `StudyStorage.finish_row`."""
    return create_trial(
        state=TrialState.PRUNED if pruned else TrialState.COMPLETE,
        value=score,
        # By which samplers rank those that were ended early.
        intermediate_values={result.curves.epochs: score} if pruned else {},
        user_attrs={_RESULT: {**result.as_json(), _ENDED: _now()}},
        constraints=dict(constraints),
    )


def is_row(trial: FrozenTrial) -> bool:
    """Tell whether a trial of the storage is a row of ours, and no other program's."""
    return _RUN in trial.user_attrs


def is_warm_start(trial: FrozenTrial) -> bool:
    """Tell whether a trial was trained in an earlier study."""
    return _WARM_START in trial.user_attrs


def owner_values(owner: Owner, course: str) -> dict[str, Any]:
    """A row's attribute `OWNER`."""
    return {**owner.as_json(), _COURSE: course}


def owner_in(attributes: Mapping[str, Any]) -> tuple[Owner, str]:
    """The process that trains or trained a row, and its course."""
    values = dict(attributes[OWNER])
    course = values.pop(_COURSE, "")
    return Owner.from_json(values), course


def read_row(
    trial: FrozenTrial,
    said: Mapping[Owner, Mapping[str, Mapping[str, float]]],
    attributes: Mapping[str, Any],
    *,
    with_result: bool,
) -> Row:
    """A row from Optuna's trial, what every worker said last, and what the study holds beside its rows."""
    run, values = trial.user_attrs[_RUN], trial.user_attrs.get(_RESULT)
    (owner, course), finished, failed = (
        owner_in(trial.user_attrs),
        trial.state in FINISHED,
        trial.state is TrialState.FAIL,
    )
    test, probe = attributes.get(f"{TEST}{trial.number}"), attributes.get(f"{PROBE}{trial.number}")
    result = _result(values, test) if values is not None and finished and with_result else None
    return Row(
        number=trial.number,
        state=trial.state,
        run=Run.from_json(run),
        owner=owner,
        course=course,
        result=result,
        score=float(trial.value) if finished and trial.value is not None else math.nan,
        error=str(trial.user_attrs.get(VOID, "marked as failed from outside")) if failed else "",
        progress={} if trial.state.is_finished() else said.get(owner, {}).get(str(trial.number), {}),
        started=datetime.fromisoformat(run[_STARTED]),
        ended=datetime.fromisoformat(values[_ENDED]) if values is not None and finished else None,
        probe=decode_probe(probe),
        warm_start=is_warm_start(trial),
        is_void=failed and VOID in trial.user_attrs,
    )


def copy_trial(earlier: EarlierTrial) -> FrozenTrial:
    """Copy a trial of an earlier study into a closed row of a new one."""
    row = earlier.row
    assert row.result is not None and row.ended is not None
    run = replace(row.run, label=earlier.origin)
    return create_trial(
        state=TrialState.COMPLETE,
        value=earlier.score,
        params=dict(earlier.params),
        distributions=dict(earlier.distributions),
        user_attrs={
            _RUN: {**run.as_json(), _STARTED: row.started.isoformat(timespec="milliseconds")},
            OWNER: owner_values(row.owner, _WARM_START),
            _RESULT: {**row.result.as_json(), _ENDED: row.ended.isoformat(timespec="milliseconds")},
            _WARM_START: earlier.origin,
        },
        constraints=dict(earlier.constraints),
    )


def _result(values: Mapping[str, Any], test: Mapping[str, Any] | None) -> Result:
    measures = values["measures"] if test is None else {**values["measures"], "test": test}
    return Result(
        curves=decode_curves(values["curves"]),
        measures={split: decode_measures(measured) for split, measured in measures.items()},
        seconds=float(values["seconds"]),
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
