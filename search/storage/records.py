"""A study's rows and facts as the records that reports are made of."""

import math
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from optuna.trial import TrialState

from klsearch.search.layout import Layout
from klsearch.search.seeds import confirmation_seed, race_seeds, shared_seed
from klsearch.search.storage.encoding import DamagedStudy
from klsearch.search.storage.leases import Activity
from klsearch.search.storage.opening import open_storage
from klsearch.search.storage.place import Place
from klsearch.search.storage.rows import Row, Run, one_of_each, trial_number
from klsearch.search.storage.study import StudyStorage
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.definitions.definition import StudyDefinition
from klsearch.studies.definitions.parsing import parse_definition
from klsearch.studies.errors import DefinitionError, StorageError
from klsearch.studies.ladder import LADDER, closing_settings
from klsearch.studies.record import ConfirmationRun, RunState, StudyRecord, TrialRecord
from klsearch.vae.diagnostics.gates import CONSTRAINT_GATES, Gate, final_kl, judge, kl_slope
from klsearch.vae.hyperparameters import Hyperparameters

_STATES = {
    TrialState.COMPLETE: RunState.COMPLETE,
    TrialState.PRUNED: RunState.PRUNED,
    TrialState.FAIL: RunState.FAILED,
    TrialState.RUNNING: RunState.RUNNING,
    TrialState.WAITING: RunState.RUNNING,
}


def load_study(place: Place) -> StudyRecord:
    """The study at a place, as its storage holds it now; nothing is written.

    Raises:
        StorageError: there is no such study, or its storage cannot be read.
    """
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, place.name)
        return study_record(study, url=place.shown_url, resume_command=place.resume_command)


def look_at_study(place: Place) -> tuple[StudyRecord, Activity]:
    """The study as `load_study` gives it, and whether any process works on it now.

    Raises:
        StorageError: there is no such study, or its storage cannot be read.
    """
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, place.name)
        return study_record(study, url=place.shown_url, resume_command=place.resume_command), study.leases.activity()


def watch_study(place: Place, *, seconds: float) -> Iterator[tuple[StudyRecord, Activity]]:
    """What `look_at_study` gives, again after so many seconds each, until no process works on the study.

    Raises:
        StorageError: there is no such study, or its storage cannot be read.
    """
    with open_storage(place.url, create=False) as storage:
        study = StudyStorage.load(storage, place.name)
        while True:
            activity = study.leases.activity()
            yield study_record(study, url=place.shown_url, resume_command=place.resume_command), activity
            if not activity.is_worked_on:
                return
            time.sleep(seconds)


def stored_definition(place: Place) -> LoadedDefinition:
    """The definition that the study at a place was last run under.

    Raises:
        StorageError: there is no such study, or its storage cannot be read.
    """
    with open_storage(place.url, create=False) as storage:
        return definition_of(StudyStorage.load(storage, place.name))


def stored_layout(place: Place) -> Layout | None:
    """The layout of the study at a place; None if there is none, or it cannot be read now."""
    try:
        with open_storage(place.url, create=False) as storage:
            return StudyStorage.load(storage, place.name).facts.layout
    except StorageError:
        return None  # said by whoever opens it to work on it


def definition_of(study: StudyStorage) -> LoadedDefinition:
    """The definition that a study was last run under."""
    toml, folder = study.definition, Path(study.facts.folder)
    return LoadedDefinition(definition=_parse(toml, study.name), toml=toml, folder=folder, path=None)


def _parse(toml: str, name: str) -> StudyDefinition:
    """The definition that a study holds, which was whole when it was stored."""
    try:
        return parse_definition(toml, f"{name}.toml")
    except DefinitionError as error:
        raise DamagedStudy(f"the definition of study {name!r}", error.problems[0]) from error


def study_record(storage: StudyStorage, *, url: str, resume_command: str) -> StudyRecord:
    """Everything that a storage holds of a study.

    Gates are judged here, from the stored curves and measures, so that a changed threshold holds for every trial.

    Args:
        storage: the study.
        url: the storage's URL, without a password.
        resume_command: what continues the study.
    """
    toml, facts = storage.definition, storage.facts
    definition = facts.settle(_parse(toml, storage.name))
    return StudyRecord(
        name=storage.name,
        definition=definition,
        definition_toml=toml,
        fingerprint=facts.fingerprint,
        slots=facts.layout.slots,
        lag=facts.lag,
        trials=tuple(trial_record(row, definition) for row in storage.rows()),
        confirmation=tuple(_confirmation(row, definition) for row in confirmed_rows(storage, definition)),
        race=tuple(_confirmation(row, definition) for row in raced_rows(storage, definition)),
        procedure=facts.procedure,
        winner=facts.winner,
        confirmed_among=facts.confirmed_among,
        is_confirmed=facts.is_confirmed(definition, storage.counted_numbers()),
        data=facts.data,
        reference=facts.reference,
        samples=storage.confirmation_samples(),
        latent_map=storage.confirmation_latents(),
        provenance=facts.provenance,
        test_looks=len(facts.test_looks),
        warm_start=facts.warm_start,
        ladder=facts.ladder,
        scoring=facts.scoring,
        closing=tuple(_confirmation(row, definition) for row in closing_rows(storage, definition)),
        storage=url,
        resume_command=resume_command,
        head=_render_head,
    )


def _render_head(study: StudyRecord) -> str:
    from klsearch.reports.report import render_head  # Matplotlib and Jinja2, which reading a study need not wait for

    return render_head(study)


def trial_records(storage: StudyStorage, definition: StudyDefinition) -> list[TrialRecord]:
    """The study's trials, in ascending number."""
    return [trial_record(row, definition) for row in storage.rows()]


def confirmed_rows(storage: StudyStorage, definition: StudyDefinition) -> list[Row]:
    """The rows of the confirmation that the definition asks for as it is now.

    Rows of a baseline that was changed or taken out since, and of seeds that are no longer asked for, are left out.
    """
    seeds = {confirmation_seed(definition.study.seed, index) for index in range(definition.confirmation.seeds)}
    baselines = {
        Run(hyperparameters=settings, seed=seed, label=name, method=definition.baseline_method(name))
        for name, settings in definition.baseline_hyperparameters().items()
        for seed in seeds
    }
    return [
        row
        for row in one_of_each(storage.confirmation_rows())
        if row.run.seed in seeds and (trial_number(row.run.label) is not None or row.run in baselines)
    ]


def raced_rows(storage: StudyStorage, definition: StudyDefinition) -> list[Row]:
    """The rows of the leading trials on the seeds of the race; none in a study of the first release."""
    seeds = race_seeds(definition.study.seed)
    return [row for row in one_of_each(storage.confirmation_rows()) if row.run.seed in seeds]


def closing_runs(definition: StudyDefinition, winner: Hyperparameters) -> list[Run]:
    """The trainings of the ladder at a winner's other settings, on the seed that the trials share."""
    seed = shared_seed(definition.study.seed)
    return [Run(hyperparameters=one, seed=seed, label=LADDER) for one in closing_settings(definition, winner)]


def closing_rows(storage: StudyStorage, definition: StudyDefinition) -> list[Row]:
    """The finished rows of that ladder, in ascending KL weight; none in a study without a ladder or a winner."""
    facts = storage.facts
    if not facts.ladder or facts.winner is None:
        return []
    known = {row.run: row for row in one_of_each(storage.confirmation_rows()) if row.state is TrialState.COMPLETE}
    wanted = closing_runs(definition, storage.row(facts.winner).run.hyperparameters)
    return [known[run] for run in wanted if run in known]


def trial_record(row: Row, definition: StudyDefinition) -> TrialRecord:
    """A row of the search as the record of a trial."""
    gates = _gates(row, definition)
    constrained = [gate.passed for gate in gates if gate.name in CONSTRAINT_GATES]
    return TrialRecord(
        **_common(row, definition, gates),
        number=row.number,
        origin=row.run.label,
        warm_start=row.warm_start,
        is_void=row.is_void,
        feasible=row.state is TrialState.COMPLETE and bool(constrained) and all(constrained),
        progress=row.progress,
    )


def _confirmation(row: Row, definition: StudyDefinition) -> ConfirmationRun:
    return ConfirmationRun(
        **_common(row, definition, _gates(row, definition)),
        candidate=row.run.label,
        trial=trial_number(row.run.label),
        probe=row.probe,
        test=row.result.measures.get("test") if row.result is not None else None,
    )


def _common(row: Row, definition: StudyDefinition, gates: tuple[Gate, ...]) -> dict[str, Any]:
    """The fields that a trial and a confirmation run have in common."""
    result, window = row.result, definition.gates.window
    measures = result.measures.get("validation") if result is not None else None
    measured = result.curves if result is not None and measures is not None else None
    return {
        "state": _STATES[row.state],
        "hyperparameters": row.run.hyperparameters,
        "seed": row.run.seed,
        "curves": result.curves if result is not None else None,
        "measures": measures,
        "kl": final_kl(measured, window) if measured is not None else math.nan,
        "kl_slope": kl_slope(measured, window) if measured is not None else math.nan,
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
