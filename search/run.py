"""Running a study from its definition to its report: the one call behind `klsearch run` and `resume`."""

import time
from collections.abc import Mapping, Sequence, Set
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from optuna.storages import BaseStorage

from reports.report import write_report
from reports.tables import write_trials_csv
from search.backends import opened
from search.confirmation import ConfirmationSource, RetrainingSource, candidates, choose_winner, rows_to_show
from search.facts import StudyFacts
from search.importance import importances
from search.models import build_network, build_population, objective_of
from search.owner import this_process
from search.place import Place
from search.progress import Progress, leading
from search.provenance import provenance
from search.records import confirmed_rows, study_record, trial_records
from search.slots import auto_slots
from search.stopping import Stopper
from search.storage import FINISHED, LEASE_SECONDS, Row, StudyStorage
from search.training import Interrupted, Trainer
from search.trials import TrialSource
from studies.catalog import LoadedDefinition
from studies.definition import StudyDefinition, differences
from studies.errors import StudyConflict
from studies.record import DataFacts, StudyRecord
from vae.datasets import Dataset
from vae.evaluation import Members
from vae.networks import Network
from vae.pictures import take_samples
from vae.population import Population

_ALIVE_SECONDS = LEASE_SECONDS / 10  # as often as `status --watch` looks


@dataclass(frozen=True, slots=True, kw_only=True)
class RunOptions:
    """How a study is to be run.

    Attributes:
        slots: K for a new study; None measures the best. A study that exists keeps its own.
        confirm: whether to confirm once the budget is met.
    """

    slots: int | None = None
    confirm: bool = True


def run_study(
    loaded: LoadedDefinition,
    dataset: Dataset,
    place: Place,
    options: RunOptions,
    *,
    progress: Progress,
    stopper: Stopper,
) -> StudyRecord:
    """Start or continue a study, confirm its winner, and write `report.html` and `trials.csv` into the run folder.

    Args:
        loaded: what to search.
        dataset: its data, from `studies.data.load_data`.
        place: the run folder and the storage.
        options: how to run it.
        progress: is told what happens.
        stopper: is asked about once a second whether to stop.

    Returns:
        The study as stored. It is partial if `stopper` stopped it: what was running stays so in the storage, and goes
        on with the next run.

    Raises:
        KlsearchError: the definition, the data or the storage does not allow it; nothing was overwritten.
    """
    definition = loaded.definition
    for warning in (*definition.warnings(), *dataset.warnings):
        progress.say(f"warning: {warning}")
    network = build_network(definition, dataset, loaded.folder)
    with place.held(), opened(place.url, create=True) as storage:
        session = _Session(storage, loaded, place, options, dataset, network, progress, stopper)
        try:
            session.search()
            if options.confirm and definition.confirmation.seeds and session.is_searched():
                session.confirm()
        except Interrupted:
            progress.say("Stopped; what was trained is kept.")
        finally:
            session.leave()
        record = study_record(session.storage, url=place.shown_url, resume_command=place.resume_command)
    if not stopper.signalled:
        write_outputs(record, place)
    return record


def write_outputs(record: StudyRecord, place: Place) -> None:
    """Write `trials.csv` and `report.html` into the run folder."""
    write_trials_csv(record, place.folder / "trials.csv")
    write_report(record, place.folder / "report.html")


class _Session:
    """One process's work on one study."""

    def __init__(
        self,
        storage: BaseStorage,
        loaded: LoadedDefinition,
        place: Place,
        options: RunOptions,
        dataset: Dataset,
        network: Network,
        progress: Progress,
        stopper: Stopper,
    ) -> None:
        self._definition = loaded.definition
        self._dataset = dataset
        self._network = network
        self._progress = progress
        self._stopper = stopper
        self._owner = this_process()
        self._last_alive = 0.0
        exists = StudyStorage.exists(storage, place.name, alone=place.embedded)
        if exists:
            self.storage = StudyStorage.load(storage, place.name)
            slots = _agreed_slots(self.storage, loaded.definition, dataset, options, place)
        else:
            slots = options.slots or auto_slots(network, dataset, loaded.definition, say=progress.say)
            facts = _new_facts(loaded, dataset, slots)
            self.storage = StudyStorage.create(
                storage, place.name, definition=loaded.toml_for_any_folder(), facts=facts
            )
        self.storage.replace_definition(loaded.toml_for_any_folder())
        self.storage.replace_facts(_up_to_date(self.storage.facts, loaded))
        place.create(loaded.toml_for_any_folder())
        # Who holds the run folder of an embedded storage is alone: whoever left rows running is gone.
        self._is_dead = (lambda _owner: True) if place.embedded else self.storage.is_dead
        self.storage.say_alive(self._owner, {})
        self._population: Population = build_population(loaded.definition, network, dataset, slots=slots)
        self._compiled = False

    def search(self) -> None:
        """Train trials until the study's budget is met, or until other processes train what is left of it."""
        if self.is_searched():
            return
        left, budget = self.storage.running(), self._definition.study.trials
        if self.storage.trials():
            mine = sum(row.owner == self._owner or self._is_dead(row.owner) for row in left)
            done = f"{self._finished()} of {budget} trials done, {mine} taken up again"
            self._progress.say(f"Going on with {self.storage.name}: {done}.")
        self._compile()
        self._progress.begin("trials", done=self._finished(), total=budget)
        source = TrialSource(
            self.storage,
            self._definition,
            budget=budget,
            owner=self._owner,
            is_dead=self._is_dead,
            told=self._progress.ended,
        )
        self._trainer(self.storage).train(source)
        if not self.is_searched():
            self._progress.say("Other processes train the last trials; the last one to end confirms the winner.")

    def is_searched(self) -> bool:
        """Whether the study's budget is met."""
        return self._finished() >= self._definition.study.trials

    def _finished(self) -> int:
        return sum(trial.state in FINISHED for trial in self.storage.trials())

    def confirm(self) -> None:
        """Train the leading trials and the baselines on fresh seeds, choose the winner, look at the test split."""
        chosen = candidates(self._definition, trial_records(self.storage, self._definition))
        if not chosen:
            self._progress.say("No trial has finished, so there is nothing to confirm.")
            return
        rows = self.storage.confirmation()
        source = ConfirmationSource(
            rows,
            self._definition,
            chosen,
            population=self._population,
            owner=self._owner,
            told=self._progress.ended,
        )
        if source.remaining:
            self._compile()
            total = len(chosen) * self._definition.confirmation.seeds
            self._progress.begin("confirming on fresh seeds", done=total - source.remaining, total=total)
            self._trainer(rows).train(source)
        leaders = [candidate.label for candidate in chosen if not candidate.is_baseline]
        winner = choose_winner(self._definition, confirmed_rows(self.storage, self._definition), leaders)
        baselines = list(self._definition.baseline_hyperparameters())
        self._score_on_test(rows, source, {winner, *baselines})
        number = int(winner.removeprefix("trial "))
        self.storage.replace_facts(replace(self.storage.facts, winner=number))
        self._keep_samples(rows, source, [winner, *baselines])

    def _score_on_test(self, rows: StudyStorage, source: ConfirmationSource, labels: Set[str]) -> None:
        """Measure the confirmed members of these candidates on the test split, those that it has not scored yet."""
        chosen = [row for row in confirmed_rows(self.storage, self._definition) if row.run.label in labels]
        unscored = [row for row in chosen if row.result is not None and list(row.result.measures) == ["validation"]]
        if not unscored:
            return
        members = source.members | self._trained_again(
            rows, [row for row in unscored if row.number not in source.members]
        )
        self._note_test_look()
        for first in range(0, len(unscored), self._population.slots):
            group = unscored[first : first + self._population.slots]
            measured = self._population.measure_members([members[row.number] for row in group], "test")
            for row, measures in zip(group, measured, strict=True):
                rows.add_test_measures(row.number, measures)

    def _keep_samples(self, rows: StudyStorage, source: ConfirmationSource, labels: Sequence[str]) -> None:
        """Keep what one member of each of these candidates makes of a few rows of data, for the report."""
        shown = rows_to_show(confirmed_rows(self.storage, self._definition), labels)
        numbers = [row.number for row in shown]
        if not shown or rows.sampled_rows() == tuple(numbers):
            return
        members = source.members | self._trained_again(rows, [row for row in shown if row.number not in source.members])
        samples = take_samples(
            self._network,
            objective_of(self._definition),
            self._dataset.splits,
            {row.run.label: members[row.number] for row in shown},
            columns=self._dataset.columns,
        )
        rows.replace_samples(samples, numbers)

    def _trained_again(self, rows: StudyStorage, forgotten: Sequence[Row]) -> dict[int, Members]:
        """Confirmed members whose weights an earlier process held, by row number."""
        again = RetrainingSource(forgotten, self._population)
        if forgotten:
            self._compile()
            self._progress.say(f"Training {len(forgotten)} confirmed members again, whose weights an earlier run held.")
            self._trainer(rows).train(again)
        return again.members

    def _note_test_look(self) -> None:
        """Count a look at the test split, before it is taken: one cut off in between has been taken too."""
        facts = self.storage.facts
        looks = (*facts.test_looks, datetime.now(UTC).isoformat(timespec="seconds"))
        self.storage.replace_facts(replace(facts, test_looks=looks))

    def leave(self) -> None:
        """Note what mattered so far, and give up the lease, so that what was left running can be taken up at once."""
        facts = self.storage.facts
        self.storage.replace_facts(replace(facts, importance=importances(self.storage.trials())))
        self.storage.say_gone(self._owner)

    def _compile(self) -> None:
        if self._stopper():
            raise Interrupted
        if not self._compiled:
            self._progress.say(f"Compiling one program for {self._population.slots} members at a time…")
            self._population.compile()
            self._compiled = True

    def _trainer(self, rows: StudyStorage) -> Trainer:
        def watch(running: Mapping[int, Mapping[str, float]]) -> None:
            self._progress.watch(running)
            if time.monotonic() - self._last_alive >= _ALIVE_SECONDS:
                number = leading(running)
                rows.say_alive(self._owner, {} if number is None else {number: running[number]})
                self._last_alive = time.monotonic()

        return Trainer(self._population, epochs=self._definition.training.epochs, watch=watch, stop=self._stopper)


def _new_facts(loaded: LoadedDefinition, dataset: Dataset, slots: int) -> StudyFacts:
    return StudyFacts(
        slots=slots,
        comparable=loaded.definition.fingerprint_parts(),
        folder=str(loaded.folder),
        data=DataFacts(
            rows=dataset.rows,
            shape=dataset.shape,
            scaling=dataset.scaling.words,
            fingerprint=dataset.fingerprint,
            warnings=dataset.warnings,
        ),
        provenance=provenance(),
    )


def _up_to_date(facts: StudyFacts, loaded: LoadedDefinition) -> StudyFacts:
    """The facts as this process finds them; versions of earlier processes stay named where they differ."""
    now, before = provenance(), {name: value.split(" (earlier ")[0] for name, value in facts.provenance.items()}
    named = {
        name: value if before.get(name, value) == value else f"{value} (earlier {before[name]})"
        for name, value in now.items()
    }
    return replace(facts, provenance=facts.provenance if before == now else named, folder=str(loaded.folder))


def _agreed_slots(
    storage: StudyStorage, definition: StudyDefinition, dataset: Dataset, options: RunOptions, place: Place
) -> int:
    """K of a study that exists, if what is asked for now may go on in it.

    Raises:
        StudyConflict: what makes trials comparable has changed; the message lists it.
    """
    facts = storage.facts
    changed = differences(dict(facts.comparable), definition.fingerprint_parts())
    if facts.data.fingerprint != dataset.fingerprint:
        changed.append("data: the rows are not those that the study was trained on")
    if options.slots not in (None, facts.slots):
        changed.append(f"slots: {facts.slots}, now {options.slots}")
    if changed:
        way_out = "--out another folder" if place.embedded else "--study another name"
        raise StudyConflict(
            f"study {storage.name!r} in {place.folder if place.embedded else place.shown_url} was made under another "
            f"definition ({'; '.join(changed)}). Give {way_out} for a new study, or run the old definition to go on."
        )
    return facts.slots
