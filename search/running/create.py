"""A study in its storage: made where there is none, else checked to be the one that is asked for."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

from optuna.storages import BaseStorage

from klsearch.search.confirmation.seeds_asked import with_all_seeds
from klsearch.search.layout import Layout, layout_of, most_slots
from klsearch.search.running.auto_band import find_reference
from klsearch.search.running.options import RunOptions
from klsearch.search.running.versions import DECIDING, DEVICE, EARLIER, PROCESSOR, name_earlier, provenance
from klsearch.search.running.workers import worker_count
from klsearch.search.storage.facts import StudyFacts
from klsearch.search.storage.place import Place
from klsearch.search.storage.records import definition_of
from klsearch.search.storage.rows import EarlierTrial
from klsearch.search.storage.study import StudyStorage
from klsearch.search.terminal.progress import Progress, say_if_long
from klsearch.search.training.slots import auto_layout
from klsearch.search.training.step_times import StepTimes, circumstances
from klsearch.search.training.tensorflow import threads_within
from klsearch.search.trials.score import scoring_of
from klsearch.search.trials.warm_start import find_warm_start
from klsearch.studies.definitions.catalog import LoadedDefinition
from klsearch.studies.definitions.definition import StudyDefinition, differences
from klsearch.studies.errors import StudyConflict
from klsearch.studies.ladder import count_rungs
from klsearch.studies.procedure import Procedure
from klsearch.studies.record import DataFacts, Reference
from klsearch.vae.data.datasets import Dataset
from klsearch.vae.evaluation.pca import pca_unexplained
from klsearch.vae.networks.network import Network
from klsearch.vae.training.devices.cards import count_cards, device_words
from klsearch.vae.training.devices.threads import side_by_side


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StudyRequest:
    """A study as it is asked for.

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
        """The definition itself."""
        return self.loaded.definition


def begin_study(storage: BaseStorage, request: StudyRequest) -> StudyStorage:
    """The study, made if it is not there, and its run folder.

    Raises:
        UsageError: what it should begin with does not fit it.
        KlsearchError: the reference gives no band, or `request.stop` said so before it did.
        StudyConflict: there is one that cannot go on under this definition.
    """
    study, place, loaded = None, request.place, request.loaded
    if not StudyStorage.exists(storage, place.name, alone=place.embedded):
        with suppress(StudyConflict):  # another process made it while the slots were measured
            study = _create(storage, request)
    if study is None:
        StudyStorage.exists(storage, place.name, alone=False)  # waits until it is whole
        study = StudyStorage.load(storage, place.name)
        _check_agreement(study, request)
        loaded = _choose_definition(loaded, study, request.progress)
        _warn_of_other_circumstances(study, request.progress)
    study.replace_definition(loaded.toml_for_any_folder())
    study.change_facts(**_find_changes(study.facts, loaded))
    place.create(loaded.toml_for_any_folder())
    return study


def _create(storage: BaseStorage, request: StudyRequest) -> StudyStorage:
    """A new study.

    Raises:
        StudyConflict: another process has made it meanwhile.
    """
    definition, options, say = request.definition, request.options, request.progress.say
    start = None
    if options.warm_start is not None:  # first of all, for it may be refused
        start = find_warm_start(definition, request.dataset, options.warm_start)
        say(f"Warm start: {start.words}.")
    workers, reference = worker_count(options), None
    layout = _new_layout(request, workers)
    if definition.study.kl_band == "auto":
        reference = find_reference(definition, request.network, request.dataset, layout, say=say, stop=request.stop)
    with say_if_long(request.progress, "Measuring what a PCA leaves unexplained…"):
        facts = _new_facts(request, layout, workers, reference)
    earlier: tuple[EarlierTrial, ...] = ()
    if start is not None:
        facts = replace(facts, warm_start=start.words)
        earlier = start.trials(facts.settle(definition))
    text = request.loaded.toml_for_any_folder()
    return StudyStorage.create(storage, request.place.name, definition=text, facts=facts, earlier=earlier)


def _new_layout(request: StudyRequest, workers: int) -> Layout:
    options, threads, cards = request.options, side_by_side(), count_cards()
    if options.given_slots is not None:
        layout = layout_of(options.given_slots, request.definition, threads)
    else:
        definition, say = request.definition, request.progress.say
        processes = -(-options.workers // max(1, cards))  # each worker has a card of its own as far as there are any

        def memories(xla: bool) -> StepTimes:
            known = circumstances(request.network, definition, threads=threads, processes=processes, xla=xla)
            return StepTimes(known, say=say)

        layout = auto_layout(
            request.network,
            request.dataset,
            _share(definition, workers),
            threads=threads,
            processes=processes,
            memories=memories,
            anew=options.slots == "measure",
            say=say,
        )
    return replace(layout, within=threads_within())


def _share(definition: StudyDefinition, workers: int) -> StudyDefinition:
    """The definition with one worker's share of the budget: the sampler is to learn from all of their trials."""
    trials = -(-definition.study.trials // workers)
    return definition.model_copy(update={"study": definition.study.model_copy(update={"trials": trials})})


def _new_facts(request: StudyRequest, layout: Layout, workers: int, reference: Reference | None) -> StudyFacts:
    dataset = request.dataset
    return StudyFacts(
        layout=layout,
        comparable=request.definition.fingerprint_parts(),
        folder=str(request.loaded.folder),
        data=DataFacts(
            rows=dataset.rows,
            shape=dataset.shape,
            scaling=dataset.scaling.words,
            fingerprint=dataset.fingerprint,
            warnings=dataset.warnings,
            notes=dataset.notes,
            pca=pca_unexplained(
                dataset.splits, request.definition.model.latent_dim, request.definition.objective().likelihood.deviance
            ),
        ),
        provenance=provenance(device_words()),
        reference=reference,
        procedure=Procedure.RACE,
        scoring=scoring_of(request.definition),
        ladder=count_rungs(request.definition),
        lag=max(most_slots(request.definition), layout.slots * workers),
    )


def _check_agreement(study: StudyStorage, request: StudyRequest) -> None:
    """Check that what is asked for now may go on in a study that exists.

    Raises:
        StudyConflict: what makes trials comparable has changed; the message lists it.
    """
    facts, options, place = study.facts, request.options, request.place
    changed = request.definition.changes_since(facts.comparable)
    if facts.data.fingerprint != request.dataset.fingerprint:
        changed.append("data: the rows are not those that the study was trained on")
    if options.given_slots not in (None, facts.layout.slots):
        changed.append(f"slots: {facts.layout.slots}, now {options.given_slots}")
    if options.warm_start is not None and not facts.warm_start:
        changed.append("it exists already, and began without --warm-start")
    subject = f"study {study.name!r} in {place.folder if place.embedded else place.shown_url}"
    way_out = "--out another folder" if place.embedded else "--study another name"
    if changed:
        raise StudyConflict(
            f"{subject} was made under another definition ({'; '.join(changed)}). Give {way_out} for a new study, or "
            "run the old definition to go on."
        )
    if rescored := differences(dict(facts.scoring), scoring_of(request.definition)):
        raise StudyConflict(
            f"{subject} holds trials that were scored otherwise than this klsearch scores ({'; '.join(rescored)}), and "
            f"two scores cannot be compared. Give {way_out} for a new study; this one can still be read, reported and "
            "exported."
        )


def _warn_of_other_circumstances(study: StudyStorage, progress: Progress) -> None:
    """Say that a study goes on where the same trial ends in other bits."""
    if not study.trials():
        return
    known, now = study.facts.provenance, provenance(device_words())
    before = {name: value.partition(EARLIER)[0] for name, value in known.items() if value}
    changed = [name for name in (*DECIDING, PROCESSOR) if before.get(name, now[name]) != now[name]]
    if changed:
        words = ", ".join(f"{name} {now[name]} (before: {before[name]})" for name in changed)
        progress.say(
            f"warning: this study goes on with {words}, where the same settings and seed may give other bits, within "
            "the noise of seeds."
        )
    if DEVICE in before and before[DEVICE] != now.get(DEVICE):
        progress.say(
            f"warning: this study was trained on {before[DEVICE]} so far, and goes on on {now.get(DEVICE)}, where the "
            "same settings and seed give other bits, within the noise of seeds."
        )


def _choose_definition(loaded: LoadedDefinition, study: StudyStorage, progress: Progress) -> LoadedDefinition:
    """The definition under which a study goes on, and what the user should know of it."""
    chosen, before = with_all_seeds(loaded, study), definition_of(study).definition
    if chosen is not loaded:
        progress.say(
            f"The winner stays confirmed on {chosen.definition.confirmation.seeds} fresh seeds, not on the "
            f"{loaded.definition.confirmation.seeds} that the definition asks for: no result is dropped."
        )
    if chosen.definition.gates != before.gates and study.trials():
        progress.say(
            "warning: [gates] has changed. What is shown of earlier trials is judged anew; the search goes on from how "
            "they were judged when they ended."
        )
    filled = chosen.definition.filled_baselines() if study.facts.recipe_fills else {}
    if names := [name for name, baseline in filled.items() if baseline != chosen.definition.baselines[name]]:
        progress.say(
            f"warning: this study began when baselines took what they leave out from 'before', and goes on so: "
            f"{', '.join(names)}. In a new study it is off."
        )
    return chosen


def _find_changes(facts: StudyFacts, loaded: LoadedDefinition) -> dict[str, Any]:
    """The facts that are others for this process; versions of earlier processes stay named where they differ."""
    found = provenance(device_words())
    now = {name: name_earlier(facts.provenance.get(name, value), value) for name, value in found.items()}
    return {"provenance": now, "folder": str(loaded.folder)}
