"""One study in its Optuna storage: the only file that knows how a study's rows and attributes are named."""

import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState, create_trial

from search.encoding import (
    decode_curves,
    decode_measures,
    decode_samples,
    encode_curves,
    encode_measures,
    encode_samples,
)
from search.facts import StudyFacts
from search.owner import Owner, this_process
from studies.errors import StorageError, StudyConflict
from vae.curves import TrainingCurves
from vae.hyperparameters import Hyperparameters
from vae.measures import Measures
from vae.samples import Samples

SCHEMA_VERSION = 1
# A worker says that it lives at least this often; one of another host that was silent for thrice as long is dead.
LEASE_SECONDS = 20.0

_SCHEMA = "klsearch:schema"
_DEFINITION = "klsearch:definition"
_FACTS = "klsearch:facts"  # what is settled when the study is created
_WORKER = "klsearch:worker:"  # + owner: its lease and the progress of its trials
_TEST = "klsearch:test:"  # + number: Optuna lets nobody write to a closed row
_SAMPLES = "klsearch:samples"  # with the confirmation, so that reading the study itself stays cheap
_RESULT = "klsearch:result"
_RUN = "klsearch:run"
# Optuna 5.0 writes its own times without a zone, in that of the machine that writes.
_STARTED, _ENDED = "started", "ended"
_OWNER = "klsearch:owner"
_CONFIRMATION_SUFFIX = " (confirmation)"

FINISHED = (TrialState.COMPLETE, TrialState.PRUNED)


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is to be trained, as it is written when its row is created.

    Attributes:
        hyperparameters: the settings.
        seed: from which everything random of this training is drawn.
        label: where it comes from: "search", a baseline's name, or "trial 37" in a confirmation.
    """

    hyperparameters: Hyperparameters
    seed: int
    label: str

    def as_json(self) -> dict[str, Any]:
        """The run as JSON values."""
        return {"hyperparameters": self.hyperparameters.as_json(), "seed": self.seed, "label": self.label}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Result:
    """What a training left.

    Attributes:
        curves: per-epoch measures.
        measures: final measures by split; empty where it diverged.
        seconds: its share of the population's wall time.
    """

    curves: TrainingCurves
    measures: Mapping[str, Measures]
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """The result as JSON values."""
        measures = {split: encode_measures(measured) for split, measured in self.measures.items()}
        return {"curves": encode_curves(self.curves), "measures": measures, "seconds": round(self.seconds, 6)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Row:
    """One training as the storage holds it.

    Attributes:
        number: its place in the study, from 0.
        state: Optuna's state of the row.
        run: what is or was trained.
        owner: the process that trains it.
        result: what it left; None until it has ended.
        score: Optuna's value; NaN where there is none.
        error: why it failed; empty otherwise.
        progress: a running training's latest epoch by curve name; empty otherwise.
        started: UTC.
        ended: UTC; None while running.
    """

    number: int
    state: TrialState
    run: Run
    owner: Owner
    result: Result | None
    score: float
    error: str
    progress: Mapping[str, float]
    started: datetime
    ended: datetime | None


class StudyStorage:
    """A study's rows and facts. Rows of a confirmation lie in a second study beside the first.

    Args:
        storage: an open Optuna storage.
        name: the study's name.
    """

    def __init__(self, storage: BaseStorage, name: str) -> None:
        self.name = name
        self._storage = storage
        self._study_id = storage.get_study_id_from_name(name)

    @classmethod
    def names(cls, storage: BaseStorage) -> list[str]:
        """The names of the studies in a storage, confirmations left out."""
        names = (study.study_name for study in storage.get_all_studies())
        return sorted(name for name in names if not name.endswith(_CONFIRMATION_SUFFIX))

    @classmethod
    def load(cls, storage: BaseStorage, name: str) -> "StudyStorage":
        """The study of that name.

        Raises:
            StorageError: there is none, or it was written by something else or by a newer klsearch.
        """
        try:
            study = cls(storage, name)
        except KeyError:
            known = ", ".join(cls.names(storage)) or "none"
            raise StorageError(f"the storage holds no study {name!r}; it holds: {known}.") from None
        schema = study._attributes().get(_SCHEMA)
        if schema is None:
            raise StorageError(
                f"study {name!r} in this storage was not made by klsearch; choose another name (--study)."
            )
        if schema > SCHEMA_VERSION:
            raise StorageError(
                f"study {name!r} was written by a newer klsearch (storage format {schema}, this one knows "
                f"{SCHEMA_VERSION}); upgrade klsearch to continue it."
            )
        return study

    @classmethod
    def create(cls, storage: BaseStorage, name: str, *, definition: str, facts: StudyFacts) -> "StudyStorage":
        """A new study.

        Args:
            storage: where.
            name: the study's name.
            definition: its TOML text.
            facts: what is settled now.

        Raises:
            StudyConflict: a study of that name exists.
        """
        try:
            study_id = storage.create_new_study([StudyDirection.MINIMIZE], name)
        except optuna.exceptions.DuplicatedStudyError:
            raise StudyConflict(f"study {name!r} exists in this storage; choose another name (--study).") from None
        # The schema last: a study without it was cut off while it was made, and is not taken for a whole one.
        storage.set_study_user_attr(study_id, _DEFINITION, definition)
        storage.set_study_user_attr(study_id, _FACTS, json.dumps(facts.as_json()))
        storage.set_study_user_attr(study_id, _SCHEMA, SCHEMA_VERSION)
        return cls(storage, name)

    @classmethod
    def exists(cls, storage: BaseStorage, name: str, *, alone: bool) -> bool:
        """Whether a whole study of that name is there; the rest of one cut off in the making is removed.

        Args:
            storage: where to look.
            name: the study's name.
            alone: whether only klsearch writes there, so that a study without any attribute is no one else's.
        """
        try:
            study = cls(storage, name)
        except KeyError:
            return False
        attributes = study._attributes()
        is_ours = _DEFINITION in attributes or (alone and not attributes)
        if is_ours and _SCHEMA not in attributes and not study._trials():
            storage.delete_study(study._study_id)
            return False
        return True

    @property
    def definition(self) -> str:
        """The definition's TOML text."""
        return str(self._attributes()[_DEFINITION])

    def replace_definition(self, definition: str) -> None:
        """Write another TOML text: for what may change in a study, such as its budget."""
        if definition != self.definition:
            self._storage.set_study_user_attr(self._study_id, _DEFINITION, definition)

    @property
    def facts(self) -> StudyFacts:
        """What is known of the study as a whole."""
        return StudyFacts.from_json(json.loads(self._attributes()[_FACTS]))

    def replace_facts(self, facts: StudyFacts) -> None:
        """Write what is known of the study as a whole."""
        if facts != self.facts:
            self._storage.set_study_user_attr(self._study_id, _FACTS, json.dumps(facts.as_json()))

    def confirmation(self) -> "StudyStorage":
        """The rows of the study's confirmation."""
        name = self.name + _CONFIRMATION_SUFFIX
        try:
            return StudyStorage(self._storage, name)
        except KeyError:
            self._storage.create_new_study([StudyDirection.MINIMIZE], name)
            return StudyStorage(self._storage, name)

    def confirmation_rows(self) -> list[Row]:
        """The rows of the confirmation, none if it has not begun; never writes."""
        try:
            return StudyStorage(self._storage, self.name + _CONFIRMATION_SUFFIX).rows()
        except KeyError:
            return []

    def sampled_rows(self) -> tuple[int, ...]:
        """Numbers of the rows of this confirmation whose members' samples are kept; none before."""
        text = self._attributes().get(_SAMPLES)
        return () if text is None else tuple(json.loads(text)["rows"])

    def replace_samples(self, samples: Samples | None, rows: Sequence[int]) -> None:
        """Keep what the members of these rows of a confirmation make of a few rows of data."""
        kept = {"rows": list(rows), "samples": None if samples is None else encode_samples(samples)}
        self._storage.set_study_user_attr(self._study_id, _SAMPLES, json.dumps(kept))

    def confirmation_samples(self) -> Samples | None:
        """What the confirmed members make of a few rows of data; None where that is not kept. Never writes."""
        try:
            attributes = StudyStorage(self._storage, self.name + _CONFIRMATION_SUFFIX)._attributes()
        except KeyError:
            return None
        kept = json.loads(attributes.get(_SAMPLES, '{"samples": null}'))["samples"]
        return None if kept is None else decode_samples(kept)

    def create_row(
        self,
        run: Run,
        owner: Owner,
        *,
        params: Mapping[str, float] | None = None,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> int:
        """A new running row, written in one piece so that none is ever cut off between its suggestions; its number."""
        template = create_trial(
            state=TrialState.RUNNING,
            params=dict(params or {}),
            distributions=dict(distributions or {}),
            user_attrs={_RUN: {**run.as_json(), _STARTED: _now()}, _OWNER: owner.as_json()},
        )
        trial_id = self._storage.create_new_trial(self._study_id, template_trial=template)
        return self._storage.get_trial_number_from_id(trial_id)

    def take_over(self, number: int, owner: Owner) -> None:
        """Make a running row another process's own."""
        self._storage.set_trial_user_attr(self._id(number), _OWNER, owner.as_json())

    def finish_row(self, number: int, result: Result, *, score: float, constraints: Mapping[str, float]) -> None:
        """Write what a training left and close its row; a row cut off in between is running still."""
        trial_id = self._id(number)
        self._storage.set_trial_user_attr(trial_id, _RESULT, {**result.as_json(), _ENDED: _now()})
        known = self._storage.get_trial(trial_id).constraints
        study = optuna.load_study(study_name=self.name, storage=self._storage, sampler=optuna.samplers.RandomSampler())
        trial = optuna.trial.Trial(study, trial_id)
        for name, violation in constraints.items():
            if name not in known:
                trial.set_constraint(name, violation)
        self._storage.set_trial_state_values(trial_id, TrialState.COMPLETE, [score])

    def add_test_measures(self, number: int, measures: Measures) -> None:
        """Write a closed training's measures on the test split."""
        self._storage.set_study_user_attr(self._study_id, f"{_TEST}{number}", encode_measures(measures))

    def say_alive(self, owner: Owner, progress: Mapping[int, Mapping[str, float]]) -> None:
        """Renew a worker's lease, with the latest epoch of each of its trainings by number."""
        said = {"until": time.time() + 3 * LEASE_SECONDS, "progress": {str(k): dict(v) for k, v in progress.items()}}
        self._storage.set_study_user_attr(self._study_id, _worker_key(owner), json.dumps(said))

    def say_gone(self, owner: Owner) -> None:
        """End a worker's lease."""
        self._storage.set_study_user_attr(self._study_id, _worker_key(owner), json.dumps({"until": 0, "progress": {}}))

    def is_dead(self, owner: Owner) -> bool:
        """Whether a worker no longer trains: it said so, its process is gone, or it was silent beyond its lease.

        A process that lives on this machine may be silent: one step of a large model can outlast the lease.
        """
        said = self._attributes().get(_worker_key(owner))
        until = 0.0 if said is None else json.loads(said)["until"]
        is_here = owner.host == this_process().host
        return until == 0 or owner.is_known_dead() or (not is_here and until < time.time())

    def trials(self) -> list[FrozenTrial]:
        """The rows as Optuna's trials, for its samplers and importances."""
        return self._trials()

    def rows(self) -> list[Row]:
        """Every row, in ascending number."""
        return self._rows(self._trials())

    def running(self) -> list[Row]:
        """The rows that some process trains, or trained when it died; in ascending number."""
        return self._rows([trial for trial in self._trials() if trial.state is TrialState.RUNNING])

    def _rows(self, trials: list[FrozenTrial]) -> list[Row]:
        attributes = self._attributes()
        said = {key: json.loads(text)["progress"] for key, text in attributes.items() if key.startswith(_WORKER)}
        return [
            _row(trial, said, attributes.get(f"{_TEST}{trial.number}")) for trial in trials if _RUN in trial.user_attrs
        ]

    def _trials(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def _attributes(self) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._study_id)

    def _id(self, number: int) -> int:
        return self._storage.get_trial_id_from_study_id_trial_number(self._study_id, number)


def _worker_key(owner: Owner) -> str:
    return f"{_WORKER}{owner.host}:{owner.boot}:{owner.process}:{owner.started}"


def _row(trial: FrozenTrial, said: Mapping[str, Any], test: Mapping[str, Any] | None) -> Row:
    """A row from Optuna's trial, what every worker said last by its key, and the measures on the test split."""
    run, values = trial.user_attrs[_RUN], trial.user_attrs.get(_RESULT)
    owner, finished = Owner.from_json(trial.user_attrs[_OWNER]), trial.state in FINISHED
    result = _result(values, test) if values is not None and finished else None
    return Row(
        number=trial.number,
        state=trial.state,
        run=Run(
            hyperparameters=Hyperparameters.from_json(run["hyperparameters"]), seed=run["seed"], label=run["label"]
        ),
        owner=owner,
        result=result,
        score=trial.value if finished and trial.value is not None else math.nan,
        error="marked as failed from outside" if trial.state is TrialState.FAIL else "",
        progress={} if trial.state.is_finished() else said.get(_worker_key(owner), {}).get(str(trial.number), {}),
        started=datetime.fromisoformat(run[_STARTED]),
        ended=datetime.fromisoformat(values[_ENDED]) if values is not None and finished else None,
    )


def _result(values: Mapping[str, Any], test: Mapping[str, Any] | None) -> Result:
    measures = values["measures"] if test is None else {**values["measures"], "test": test}
    return Result(
        curves=decode_curves(values["curves"]),
        measures={split: decode_measures(measured) for split, measured in measures.items()},
        seconds=values["seconds"],
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
