"""A study's rows and facts as the records that reports are made of."""

import math
from pathlib import Path

from optuna.trial import TrialState as OptunaState

from search.backends import open_storage
from search.place import Place
from search.storage import Row, StudyStorage
from studies.catalog import LoadedDefinition
from studies.definition import StudyDefinition
from studies.parsing import parse_definition
from studies.record import ConfirmationRun, StudyRecord, TrialRecord, TrialState
from vae.diagnostics import CONSTRAINT_GATES, Gate, final_kl, judge, kl_slope

_STATES = {
    OptunaState.COMPLETE: TrialState.COMPLETE,
    OptunaState.PRUNED: TrialState.PRUNED,
    OptunaState.FAIL: TrialState.FAILED,
    OptunaState.RUNNING: TrialState.RUNNING,
    OptunaState.WAITING: TrialState.RUNNING,
}


def load_study(place: Place) -> StudyRecord:
    """The study at a place, as its storage holds it now; nothing is written.

    Raises:
        StorageError: there is no such study, or its storage cannot be read.
    """
    storage = StudyStorage.load(open_storage(place.url, create=False), place.name)
    return study_record(storage, url=place.shown_url, resume_command=place.resume_command)


def stored_definition(place: Place) -> LoadedDefinition:
    """The definition that the study at a place was last run under.

    Raises:
        StorageError: there is no such study, or its storage cannot be read.
    """
    storage = StudyStorage.load(open_storage(place.url, create=False), place.name)
    toml = storage.definition
    return LoadedDefinition(
        definition=parse_definition(toml, f"{place.name}.toml"),
        toml=toml,
        folder=Path(storage.facts.folder),
        path=None,
    )


def study_record(storage: StudyStorage, *, url: str, resume_command: str) -> StudyRecord:
    """Everything that a storage holds of a study.

    Gates are judged here, from the stored curves and measures, so that a changed threshold holds for every trial.

    Args:
        storage: the study.
        url: the storage's URL, without a password.
        resume_command: what continues the study.
    """
    toml, facts = storage.definition, storage.facts
    definition = parse_definition(toml, f"{storage.name}.toml")
    return StudyRecord(
        name=storage.name,
        definition=definition,
        definition_toml=toml,
        fingerprint=facts.fingerprint,
        slots=facts.slots,
        trials=tuple(_trial(row, definition) for row in storage.rows()),
        confirmation=tuple(_confirmation(row, definition) for row in storage.confirmation_rows()),
        winner=facts.winner,
        importance=facts.importance,
        data=facts.data,
        provenance=facts.provenance,
        test_looks=len(facts.test_looks),
        storage=url,
        resume_command=resume_command,
    )


def trial_records(storage: StudyStorage, definition: StudyDefinition) -> list[TrialRecord]:
    """The study's trials, in ascending number."""
    return [_trial(row, definition) for row in storage.rows()]


def _trial(row: Row, definition: StudyDefinition) -> TrialRecord:
    gates = _gates(row, definition)
    constrained = [gate.passed for gate in gates if gate.name in CONSTRAINT_GATES]
    return TrialRecord(
        **_common(row, definition, gates),
        number=row.number,
        origin=row.run.label,
        feasible=bool(constrained) and all(constrained),
        progress=row.progress,
    )


def _confirmation(row: Row, definition: StudyDefinition) -> ConfirmationRun:
    label = row.run.label
    return ConfirmationRun(
        **_common(row, definition, _gates(row, definition)),
        candidate=label,
        trial=int(label.removeprefix("trial ")) if label.startswith("trial ") else None,
        test=row.result.measures.get("test") if row.result is not None else None,
    )


def _common(row: Row, definition: StudyDefinition, gates: tuple[Gate, ...]) -> dict[str, object]:
    result, window = row.result, definition.gates.window
    measures = result.measures.get("validation") if result is not None else None
    measured = result is not None and measures is not None
    return {
        "state": _STATES[row.state],
        "hyperparameters": row.run.hyperparameters,
        "seed": row.run.seed,
        "curves": result.curves if result is not None else None,
        "measures": measures,
        "kl": final_kl(result.curves, window) if measured else math.nan,
        "kl_slope": kl_slope(result.curves, window) if measured else math.nan,
        "score": row.score,
        "gates": gates,
        "seconds": result.seconds if result is not None else math.nan,
        "error": row.error,
        "started": row.started,
        "ended": row.ended,
    }


def _gates(row: Row, definition: StudyDefinition) -> tuple[Gate, ...]:
    if row.result is None:
        return ()
    return judge(row.result.curves, row.result.measures.get("validation"), definition.thresholds())
