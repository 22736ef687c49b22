"""One study in its Optuna storage: this file, `row_attributes` and `leases` alone know how what it holds is named."""

import json
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import fields, replace
from functools import cached_property
from typing import Any

import optuna
from optuna.distributions import BaseDistribution
from optuna.exceptions import UpdateFinishedTrialError
from optuna.storages import BaseStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from klsearch.search.storage.database.patience import engine_of
from klsearch.search.storage.database.turns import LockTurns, Turns
from klsearch.search.storage.database.whole_rows import close_trial, create_trials
from klsearch.search.storage.encoding import (
    decode_samples,
    decoding,
    encode_measures,
    encode_probe,
    encode_samples,
)
from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.leases import LEASE_SECONDS, Leases, progress_of_workers
from klsearch.search.storage.process import Owner, this_process
from klsearch.search.storage.row_attributes import (
    OWNER,
    PROBE,
    TEST,
    VOID,
    closed_trial,
    copy_trial,
    is_row,
    is_warm_start,
    new_trial,
    owner_in,
    owner_values,
    read_row,
)
from klsearch.search.storage.rows import FINISHED, EarlierTrial, NewRow, Result, Row, Run
from klsearch.studies.definitions.sections import CONFIRMATION_ENDING, RESERVED_ENDINGS, TURNS_ENDING
from klsearch.studies.errors import StorageError, StudyConflict
from klsearch.vae.diagnostics.measures import Measures
from klsearch.vae.evaluation.latent_map import LatentMap
from klsearch.vae.evaluation.probe import Probe
from klsearch.vae.evaluation.samples import Samples

# 1: the first release. 2: void rows say why, and the facts how many trials the winner was chosen among, by which
# procedure, and how trials are scored; what is not there is read as unknown, or as the first release's. A study keeps
# the version that it was made under: what is added later, 1 passes over.
SCHEMA_VERSION = 2
# A study's few attributes are written in less.
_MAKING_SECONDS = 60.0
_FIRST_ATTRIBUTE_SECONDS = 2.0

_SCHEMA = "klsearch:schema"
_DEFINITION = "klsearch:definition"
_FACTS = "klsearch:facts"  # what is settled when the study is created
_FACT = "klsearch:fact:"  # + name: what has changed since
_DECIDED = "klsearch:decided"  # by how many finished trials, and whether
_MAKER = "klsearch:maker"  # who creates it
_SAMPLES = "klsearch:samples"  # with the confirmation, so that reading the study itself stays cheap


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
        self._closed: dict[int, Row] = {}  # without results; those change no more
        self._ids: dict[int, int] = {}  # Optuna's, by number

    @classmethod
    def names(cls, storage: BaseStorage) -> list[str]:
        """The names of the studies in a storage, those that hold their confirmations and queues left out."""
        studies = storage.get_all_studies()
        with decoding("the name of a study"):
            return sorted(one.study_name for one in studies if not one.study_name.endswith(RESERVED_ENDINGS))

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
        if not isinstance(schema, int) or schema > SCHEMA_VERSION:
            raise StorageError(
                f"study {name!r} was written by a newer klsearch (storage format {schema}, this one knows "
                f"{SCHEMA_VERSION}); upgrade klsearch to read it or to go on with it."
            )
        return study

    @classmethod
    def create(
        cls,
        storage: BaseStorage,
        name: str,
        *,
        definition: str,
        facts: StudyFacts,
        earlier: Sequence[EarlierTrial] = (),
    ) -> "StudyStorage":
        """A new study.

        Args:
            storage: where.
            name: the study's name.
            definition: its TOML text.
            facts: what is settled now.
            earlier: trials that it begins with.

        Raises:
            StudyConflict: a study of that name exists, or another process took this one for left and made it anew.
        """
        try:
            return cls._make(storage, name, definition, facts, earlier)
        except (optuna.exceptions.DuplicatedStudyError, KeyError):
            raise StudyConflict(f"study {name!r} exists in this storage; choose another name (--study).") from None

    @classmethod
    def _make(
        cls,
        storage: BaseStorage,
        name: str,
        definition: str,
        facts: StudyFacts,
        earlier: Sequence[EarlierTrial],
    ) -> "StudyStorage":
        study_id = storage.create_new_study([StudyDirection.MINIMIZE], name)
        for ending in RESERVED_ENDINGS:  # another program may have deleted a study of this name, but not its rows here
            with suppress(KeyError):
                storage.delete_study(storage.get_study_id_from_name(name + ending))
        # The maker first: others then wait for the rest. The schema last: a study without it is not whole.
        storage.set_study_user_attr(study_id, _MAKER, this_process().as_json())
        storage.set_study_user_attr(study_id, _DEFINITION, definition)
        storage.set_study_user_attr(study_id, _FACTS, json.dumps(facts.as_json()))
        for trial in earlier:
            storage.create_new_trial(study_id, template_trial=copy_trial(trial))
        storage.set_study_user_attr(study_id, _SCHEMA, SCHEMA_VERSION)
        return cls(storage, name)

    @classmethod
    def exists(
        cls, storage: BaseStorage, name: str, *, alone: bool, wait: Callable[[float], None] = time.sleep
    ) -> bool:
        """Tell whether a whole study of that name is there.

        One that another process makes just now is waited for; the rest of one cut off in the making is removed, be it
        so little that it could be another program's: one without attributes and trials has nothing to lose.

        Args:
            storage: where to look.
            name: the study's name.
            alone: whether only this process writes there, so that nobody makes a study now.
            wait: passes a time in seconds.
        """
        began, known = time.monotonic(), 0
        while True:
            try:
                study = cls(storage, name)
                attributes, trials = study._attributes(), study._trials()
            except KeyError:
                return False
            if _SCHEMA in attributes or (trials and _MAKER not in attributes):
                return True
            if len(trials) > known:  # its maker is at work
                began, known = time.monotonic(), len(trials)
            waited = time.monotonic() - began
            if attributes.keys() & {_MAKER, _DEFINITION}:
                is_left = alone or waited >= _MAKING_SECONDS or _maker_is_dead(attributes)
            elif attributes or trials:
                return True  # another program's
            else:
                is_left = alone or waited >= _FIRST_ATTRIBUTE_SECONDS
            if is_left:
                with suppress(KeyError):  # another process was faster
                    storage.delete_study(study._study_id)
                return False
            wait(0.2)

    @property
    def definition(self) -> str:
        """The definition's TOML text."""
        attributes = self._attributes()
        with decoding(f"the definition of study {self.name!r}"):
            return str(attributes[_DEFINITION])

    def replace_definition(self, definition: str) -> None:
        """Write another TOML text: for what may change in a study, such as its budget."""
        if definition != self.definition:
            self._storage.set_study_user_attr(self._study_id, _DEFINITION, definition)

    @property
    def facts(self) -> StudyFacts:
        """The facts of the study as a whole."""
        attributes = self._attributes()
        names = [field.name for field in fields(StudyFacts)]  # one that is newer than the study may have been added
        found = {name: attributes[f"{_FACT}{name}"] for name in names if f"{_FACT}{name}" in attributes}
        with decoding(f"what is known of study {self.name!r} as a whole"):
            facts = json.loads(attributes[_FACTS])
            return StudyFacts.from_json({**facts, **{name: json.loads(text) for name, text in found.items()}})

    def change_facts(self, **changes: Any) -> None:
        """Write some of what is known of the study as a whole; what other processes write meanwhile stays."""
        known = self.facts
        written = replace(known, **changes).as_json()
        for name in changes:
            if written[name] != known.as_json()[name]:
                self._storage.set_study_user_attr(self._study_id, f"{_FACT}{name}", json.dumps(written[name]))

    def confirmation(self) -> "StudyStorage":
        """The rows of the study's confirmation."""
        name = self.name + CONFIRMATION_ENDING
        try:
            return StudyStorage(self._storage, name)
        except KeyError:
            with suppress(optuna.exceptions.DuplicatedStudyError):  # another process was faster
                self._storage.create_new_study([StudyDirection.MINIMIZE], name)
            return StudyStorage(self._storage, name)

    @cached_property
    def asking(self) -> LockTurns | Turns:
        """Turns to read the whole study, decide what to train, and write that down: far less than a lease takes."""
        if (engine := engine_of(self._storage)) is not None:
            return LockTurns(self._storage, engine, self._study_id, lease=LEASE_SECONDS)
        return Turns(self._storage, self.name + TURNS_ENDING, is_dead=self.leases.is_dead)

    @cached_property
    def confirming(self) -> Turns:
        """Turns to confirm the winner."""
        return Turns(self._storage, self.name + CONFIRMATION_ENDING + TURNS_ENDING, is_dead=self.leases.is_dead)

    def confirmation_rows(self) -> list[Row]:
        """The rows of the confirmation, none if it has not begun; never writes."""
        try:
            return StudyStorage(self._storage, self.name + CONFIRMATION_ENDING).rows()
        except KeyError:
            return []

    def sampled_rows(self) -> tuple[int, ...]:
        """Numbers of the rows of this confirmation whose members' samples are kept; none before."""
        text = self._attributes().get(_SAMPLES)
        with decoding(f"what study {self.name!r} keeps of the data"):
            return () if text is None else tuple(map(int, json.loads(text)["rows"]))

    def replace_samples(
        self, samples: Samples | None, rows: Sequence[int], latent_map: LatentMap | None = None
    ) -> None:
        """Keep what the members of these rows of a confirmation make of a few rows of data."""
        values = {"samples": samples, "latents": latent_map}
        kept = {name: None if value is None else encode_samples(value) for name, value in values.items()}
        self._storage.set_study_user_attr(self._study_id, _SAMPLES, json.dumps({"rows": list(rows), **kept}))

    def confirmation_samples(self) -> Samples | None:
        """The samples that confirmed members made of a few rows of data; None where they are not kept. Never writes."""
        found: Samples | None = self._kept("samples")
        return found

    def confirmation_latents(self) -> LatentMap | None:
        """Where confirmed members put a few rows of data; None where that is not kept. Never writes."""
        found: LatentMap | None = self._kept("latents")
        return found

    def _kept(self, name: str) -> Any:
        try:
            attributes = StudyStorage(self._storage, self.name + CONFIRMATION_ENDING)._attributes()
        except KeyError:
            return None
        with decoding(f"what study {self.name!r} keeps of the data"):
            kept = json.loads(attributes.get(_SAMPLES, "{}")).get(name)
            return None if kept is None else decode_samples(kept)

    def create_row(
        self,
        run: Run,
        owner: Owner,
        *,
        course: str = "",
        params: Mapping[str, float | str] | None = None,
        distributions: Mapping[str, BaseDistribution] | None = None,
    ) -> int:
        """A new running row; its number."""
        new = NewRow(run=run, params=params or {}, distributions=distributions or {})
        return self.create_rows([new], owner, course=course)[0]

    def create_rows(self, wanted: Sequence[NewRow], owner: Owner, *, course: str = "") -> list[int]:
        """New running rows, each written in one piece so that none is ever cut off half made; their numbers."""
        templates = [new_trial(new, owner, course) for new in wanted]
        made = create_trials(self._storage, self._study_id, templates)
        self._ids |= {number: trial_id for trial_id, number in made}
        return [number for _, number in made]

    def take_over(self, number: int, owner: Owner, *, course: str = "") -> bool:
        """Make a running row another process's own; whether it was running still."""
        try:
            self._storage.set_trial_user_attr(self._id(number), OWNER, owner_values(owner, course))
        except UpdateFinishedTrialError:
            return False
        return True

    def void_row(self, number: int, reason: str) -> None:
        """Close a row that holds no training, and say why; the storage does not delete rows."""
        with suppress(UpdateFinishedTrialError):
            self._storage.set_trial_user_attr(self._id(number), VOID, reason)
            self._storage.set_trial_state_values(self._id(number), TrialState.FAIL)

    def finish_row(
        self,
        number: int,
        result: Result,
        *,
        owner: Owner,
        score: float,
        constraints: Mapping[str, float],
        pruned: bool = False,
    ) -> bool:
        """Write what a training left and close its row; a row cut off in between is running still.

        Args:
            number: of the row.
            result: what the training left.
            owner: who trained it.
            score: Optuna's value.
            constraints: violations by constraint.
            pruned: whether it was ended early.

        Returns:
            Whether it was recorded. It is not if the row is closed, or was taken over from `owner`.
        """
        closed = closed_trial(result, score=score, constraints=constraints, pruned=pruned)
        return close_trial(self._storage, self._id(number), closed, is_still=lambda row: owner_in(row)[0] == owner)

    def add_test_measures(self, number: int, measures: Measures) -> None:
        """Write a closed training's measures on the test split."""
        self._storage.set_study_user_attr(self._study_id, f"{TEST}{number}", encode_measures(measures))

    def add_probe(self, number: int, probe: Probe | None) -> None:
        """Write what a linear model reads off a closed training's latents."""
        self._storage.set_study_user_attr(self._study_id, f"{PROBE}{number}", encode_probe(probe))

    def decided(self) -> tuple[int, bool]:
        """The finished trials that were last looked at for whether more search pays, and whether it no longer does."""
        text = self._attributes().get(_DECIDED, "[0, false]")
        with decoding(f"what was decided of study {self.name!r}"):
            counted, is_decided = json.loads(text)
            return int(counted), bool(is_decided)

    def keep_decided(self, counted: int, is_decided: bool) -> None:
        """Write down whether more search no longer pays, by so many finished trials."""
        self._storage.set_study_user_attr(self._study_id, _DECIDED, json.dumps([counted, is_decided]))

    @cached_property
    def leases(self) -> Leases:
        """The leases of the study's workers."""
        return Leases(self._storage, self._study_id)

    def trials(self) -> list[FrozenTrial]:
        """The rows as Optuna's trials, for its samplers and importances."""
        return self._trials()

    def counted_numbers(self) -> list[int]:
        """Numbers of the finished trials that count to the budget: all but those of a warm start."""
        return [t.number for t in self._trials() if t.state in FINISHED and not is_warm_start(t)]

    def rows(self, *, results: bool = True) -> list[Row]:
        """Every row, in ascending number; without what trainings left, each is read once when it is closed."""
        trials = self._trials()
        return self._rows(trials) if results else self.rows_of(trials)

    def rows_of(self, trials: Sequence[FrozenTrial]) -> list[Row]:
        """The rows of `trials()` read before, without what trainings left; each is read once when it is closed."""
        known, rows = self._closed, []
        for trial in trials:
            row = known.get(trial.number)
            if row is None:
                if not is_row(trial):
                    continue
                row = self._read(trial, {}, {}, with_result=False)
                if trial.state.is_finished():
                    known[trial.number] = row
            rows.append(row)
        return rows

    def row(self, number: int) -> Row:
        """One row."""
        (row,) = self.rows_at([number])
        return row

    def rows_at(self, numbers: Iterable[int]) -> list[Row]:
        """Some rows, in this order; what the study holds beside its rows is read once for all of them."""
        return self._rows([self._storage.get_trial(self._id(number)) for number in numbers])

    def running_rows(self) -> list[Row]:
        """The rows that some process trains, or trained when it died; in ascending number."""
        return self._rows([trial for trial in self._trials() if trial.state is TrialState.RUNNING])

    def _rows(self, trials: list[FrozenTrial]) -> list[Row]:
        attributes = self._attributes()
        said = progress_of_workers(attributes)
        return [self._read(trial, said, attributes, with_result=True) for trial in trials if is_row(trial)]

    def _read(
        self,
        trial: FrozenTrial,
        said: Mapping[Owner, Mapping[str, Mapping[str, float]]],
        attributes: Mapping[str, Any],
        *,
        with_result: bool,
    ) -> Row:
        with decoding(f"row {trial.number} of study {self.name!r}"):
            return read_row(trial, said, attributes, with_result=with_result)

    def _trials(self) -> list[FrozenTrial]:
        return self._storage.get_all_trials(self._study_id, deepcopy=False)

    def _attributes(self) -> dict[str, Any]:
        return self._storage.get_study_user_attrs(self._study_id)

    def _id(self, number: int) -> int:
        if number not in self._ids:  # a journal looks through all rows for one
            self._ids = {trial.number: trial._trial_id for trial in self._trials()}
        return self._ids[number]


def _maker_is_dead(attributes: Mapping[str, Any]) -> bool:
    if _MAKER not in attributes:
        return True
    with decoding("who makes a study"):
        maker = Owner.from_json(attributes[_MAKER])
    return maker.is_known_dead()
