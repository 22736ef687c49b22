"""A study in its storage: made where there is none, else checked to be the one that is asked for."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from optuna.storages import BaseStorage

from klsearch.search.confirmation.seeds_asked import with_all_seeds
from klsearch.search.layout import Layout, layout_of
from klsearch.search.progress import Progress
from klsearch.search.running.auto_band import find_reference
from klsearch.search.running.options import RunOptions
from klsearch.search.running.versions import provenance, told_with
from klsearch.search.running.workers import worker_count
from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.place import Place
from klsearch.search.storage.records import definition_of
from klsearch.search.storage.rows import EarlierTrial
from klsearch.search.storage.study import StudyStorage
from klsearch.search.training.slots import auto_layout
from klsearch.search.training.tensorflow import threads_within
from klsearch.search.trials.warm_start import warm_start
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.definitions.definition import StudyDefinition, differences
from klsearch.studies.errors import StudyConflict
from klsearch.studies.record import DataFacts, Reference
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.networks.network import Network
from klsearch.vae.training.threads import side_by_side


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Wanted:
    """The study that is asked for.

    Attributes:
        loaded: its definition.
        dataset: its rows.
        network: its architecture, built once.
        place: its run folder and storage.
        options: how it is to be run.
        progress: is told what happens.
        stop: whether to stop now.
    """

    loaded: LoadedDefinition
    dataset: Dataset
    network: Network
    place: Place
    options: RunOptions
    progress: Progress
    stop: Callable[[], bool]

    @property
    def definition(self) -> StudyDefinition:
        """What the definition says."""
        return self.loaded.definition


def begun(storage: BaseStorage, wanted: Wanted) -> StudyStorage:
    """The study, made if it is not there, and its run folder.

    Raises:
        UsageError: what it should begin with does not fit it.
        KlsearchError: the reference gives no band, or `wanted.stop` said so before it did.
        StudyConflict: there is one that cannot go on under this definition.
    """
    study, place, loaded = None, wanted.place, wanted.loaded
    if not StudyStorage.exists(storage, place.name, alone=place.embedded):
        with suppress(StudyConflict):  # another process made it while the slots were measured
            study = _created(storage, wanted)
    if study is None:
        StudyStorage.exists(storage, place.name, alone=False)  # waits until it is whole
        study = StudyStorage.load(storage, place.name)
        _agree(study, wanted)
        loaded = _kept(loaded, study, wanted.progress)
    study.replace_definition(loaded.toml_for_any_folder())
    study.change_facts(**_news(study.facts, loaded))
    place.create(loaded.toml_for_any_folder())
    return study


def _created(storage: BaseStorage, wanted: Wanted) -> StudyStorage:
    """A new study.

    Raises:
        StudyConflict: another process has made it meanwhile.
    """
    definition, options, say = wanted.definition, wanted.options, wanted.progress.say
    begun_with = None
    if options.warm_start is not None:  # first of all, for it may be refused
        begun_with = warm_start(definition, wanted.dataset, options.warm_start)
        say(f"Warm start: {begun_with.words}.")
    layout, reference = _new_layout(wanted), None
    if definition.study.kl_band == "auto":
        reference = find_reference(definition, wanted.network, wanted.dataset, layout, say=say, stop=wanted.stop)
    facts = _new_facts(wanted, layout, reference)
    earlier: tuple[EarlierTrial, ...] = ()
    if begun_with is not None:
        facts = replace(facts, warm_start=begun_with.words)
        earlier = begun_with.trials(facts.settle(definition))
    text = wanted.loaded.toml_for_any_folder()
    return StudyStorage.create(storage, wanted.place.name, definition=text, facts=facts, earlier=earlier)


def _new_layout(wanted: Wanted) -> Layout:
    options, threads = wanted.options, side_by_side()
    if options.slots is not None:
        layout = layout_of(options.slots, wanted.definition, threads)
    else:
        share = _share(wanted.definition, worker_count(options))
        layout = auto_layout(
            wanted.network,
            wanted.dataset,
            share,
            threads=threads,
            processes=options.workers,
            say=wanted.progress.say,
        )
    return replace(layout, within=threads_within())


def _share(definition: StudyDefinition, workers: int) -> StudyDefinition:
    """The definition with one worker's share of the budget: the sampler is to learn from all of their trials."""
    trials = -(-definition.study.trials // workers)
    return definition.model_copy(update={"study": definition.study.model_copy(update={"trials": trials})})


def _new_facts(wanted: Wanted, layout: Layout, reference: Reference | None) -> StudyFacts:
    dataset = wanted.dataset
    return StudyFacts(
        layout=layout,
        comparable=wanted.definition.fingerprint_parts(),
        folder=str(wanted.loaded.folder),
        data=DataFacts(
            rows=dataset.rows,
            shape=dataset.shape,
            scaling=dataset.scaling.words,
            fingerprint=dataset.fingerprint,
            warnings=dataset.warnings,
        ),
        provenance=provenance(),
        reference=reference,
    )


def _agree(study: StudyStorage, wanted: Wanted) -> None:
    """Check that what is asked for now may go on in a study that exists.

    Raises:
        StudyConflict: what makes trials comparable has changed; the message lists it.
    """
    facts, options, place = study.facts, wanted.options, wanted.place
    changed = differences(dict(facts.comparable), wanted.definition.fingerprint_parts())
    if facts.data.fingerprint != wanted.dataset.fingerprint:
        changed.append("data: the rows are not those that the study was trained on")
    if options.slots not in (None, facts.layout.slots):
        changed.append(f"slots: {facts.layout.slots}, now {options.slots}")
    if options.warm_start is not None and not facts.warm_start:
        changed.append("it exists already, and began without --warm-start")
    if changed:
        way_out = "--out another folder" if place.embedded else "--study another name"
        raise StudyConflict(
            f"study {study.name!r} in {place.folder if place.embedded else place.shown_url} was made under another "
            f"definition ({'; '.join(changed)}). Give {way_out} for a new study, or run the old definition to go on."
        )


def _kept(loaded: LoadedDefinition, study: StudyStorage, progress: Progress) -> LoadedDefinition:
    """The definition under which a study goes on, and what the user should know of it."""
    kept, before = with_all_seeds(loaded, study), definition_of(study).definition
    if kept is not loaded:
        progress.say(
            f"The winner stays confirmed on {kept.definition.confirmation.seeds} fresh seeds, not on the "
            f"{loaded.definition.confirmation.seeds} that the definition asks for: no result is dropped."
        )
    if kept.definition.gates != before.gates and study.trials():
        progress.say(
            "warning: [gates] has changed. What is shown of earlier trials is judged anew; the search goes on from how "
            "they were judged when they ended."
        )
    return kept


def _news(facts: StudyFacts, loaded: LoadedDefinition) -> dict[str, Any]:
    """The facts that this process finds otherwise; versions of earlier processes stay named where they differ."""
    now = {name: told_with(facts.provenance.get(name, value), value) for name, value in provenance().items()}
    return {"provenance": now, "folder": str(loaded.folder)}
